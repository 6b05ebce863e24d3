import { AppError } from '#core/errors.ts';

/** Rules of Consul's ACLs in their JSON form, so that no name can break out of its string. */
export type Rules = Record<string, unknown>;

const rule = (policy: 'read' | 'write' | 'deny') => ({ policy });

/** What the agent of a host may do: speak for its own host, register any container, read the pool's records. */
export function agentRules(host: { id: string; name: string }): Rules {
  const own = `xcaas/hosts/${host.id}`;
  return {
    node: { [host.name]: rule('write') },
    node_prefix: { '': rule('read') },
    service_prefix: { '': rule('write') },
    session: { [host.name]: rule('write') },
    // Reload after a new certificate.
    agent: { [host.name]: rule('write') },
    // An exact key outweighs a prefix: what was decided about a host is not the host's to write.
    key: { [`${own}/spec`]: rule('read') },
    key_prefix: { 'xcaas/': rule('read'), [`${own}/`]: rule('write'), 'xcaas/events/': rule('write') },
  };
}

/** What a host's Consul needs to enter its node into the catalog and to keep it in step. */
export function consulAgentRules(host: { name: string }): Rules {
  return { node: { [host.name]: rule('write') }, service_prefix: { '': rule('read') } };
}

/** What control may do: all records of the pool, tokens for members, and removing a host from raft and gossip. */
export function controlRules(): Rules {
  return {
    acl: 'write',
    operator: 'write',
    agent_prefix: { '': rule('read') },
    node_prefix: { '': rule('read') },
    service_prefix: { '': rule('write') },
    session_prefix: { '': rule('write') },
    key_prefix: { 'xcaas/': rule('write') },
  };
}

export interface MemberGrant {
  /** Keys under `xcaas/` that the member writes. `a/b` stands for the key itself and all below `a/b/`, not for `a/bc`. */
  write: string[];
  read: string[];
  /** Name of the Consul node it runs at (the host's name); without it the member may hold sessions at any. */
  node?: string;
}

/** @throws AppError `invalid` for a key outside `xcaas/` */
export function memberRules({ write, read, node }: MemberGrant): Rules {
  const key: Rules = {};
  const prefix: Rules = {};
  const grant = (path: string, policy: 'read' | 'write') => {
    if (!/^xcaas\/[^/]/.test(path) || path.includes('//') || path.split('/').includes('..')) {
      throw new AppError('invalid', `a member cannot be given the key "${path}": it is not below xcaas/`);
    }
    const plain = path.replace(/\/$/, '');
    if (!path.endsWith('/')) key[plain] = rule(policy);
    prefix[`${plain}/`] = rule(policy);
  };
  for (const path of read) grant(path, 'read');
  // After the reads: where both name a key, writing includes reading.
  for (const path of write) grant(path, 'write');
  return {
    key,
    key_prefix: prefix,
    node_prefix: { '': rule('read') },
    service_prefix: { '': rule('read') },
    ...(node === undefined ? { session_prefix: { '': rule('write') } } : { session: { [node]: rule('write') } }),
  };
}
