import { AppError } from '#core/errors.ts';
import { type Board, type Filter, filtersOf, type Square } from '#pool/placement-board.ts';
import type { MemberToPlace } from '#pool/placement-request.ts';

/** Hosts that are named one by one in a refusal. */
const NAMED = 5;

/**
 * Says which demand left no host: each filter with how many hosts it left, and what the last ones had instead.
 * `no host for adb-2: 3 hosts, 3 alive, 2 with storage=ssd, 0 with 4 GiB of memory free (host-a has 2.1 GiB, host-b has 1 GiB)`
 */
export function explainNoHost(member: MemberToPlace, board: Board): AppError {
  let left: Square[] = board.squares;
  const parts = [`${left.length} ${left.length === 1 ? 'host' : 'hosts'}`];
  let last: Filter | undefined;
  for (const filter of filtersOf(member)) {
    const passed = left.filter((square) => filter.passes(square));
    if (filter.always || passed.length < left.length) parts.push(`${passed.length} ${filter.says}`);
    if (passed.length === 0 && left.length > 0) {
      parts[parts.length - 1] += named(filter, left);
      last = filter;
      break;
    }
    left = passed;
    if (left.length === 0) break;
  }
  return new AppError('no_host', `no host for ${member.id}: ${parts.join(', ')}`, { hint: hintFor(last, left) });
}

function named(filter: Filter, failed: readonly Square[]): string {
  const { instead } = filter;
  if (instead === undefined) return '';
  const some = failed.slice(0, NAMED).map((square) => `${square.host.spec.name} ${instead(square)}`);
  return ` (${[...some, ...(failed.length > NAMED ? [`${failed.length - NAMED} more`] : [])].join(', ')})`;
}

function hintFor(filter: Filter | undefined, failed: readonly Square[]): string {
  const node = failed[0]?.host.spec.name ?? 'NODE';
  switch (filter?.kind) {
    case 'alive':
      return 'see what is wrong with the hosts: xcaas nodes';
    case 'drained':
      return `let a host take members again: xcaas node undrain ${node}`;
    case 'constraint':
      return 'label a host (xcaas node label NODE KEY=VALUE), add one (xcaas join-token), or ask for less';
    default:
      return 'add a host (xcaas join-token), free one, or ask for less';
  }
}
