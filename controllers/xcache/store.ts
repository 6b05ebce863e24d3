export const CACHE_PREFIX = 'xcaas/cache/';

/** Keys of one cache's records. */
export const cacheKeys = (cache: string) => {
  const base = `${CACHE_PREFIX}${cache}`;
  return {
    base: `${base}/`,
    spec: `${base}/spec`,
    lead: `${base}/lead`,
    birth: `${base}/birth`,
    move: `${base}/move`,
    /** Of a cluster, written by the sidecar that holds `leader`. */
    cluster: `${base}/cluster`,
    /** What growth has to remember; written by the controller. */
    growth: `${base}/growth`,
    /** Lock that sessions hold beside the member's record; nothing rests on it. In a cluster: whose sidecar puts things right. */
    leader: `${base}/leader`,
    member: (member: string) => `${base}/members/${member}`,
    /** Of backups: asked for by the API or the schedule, done by sidecars. */
    backup: (id: string) => `${base}/backups/${id}`,
    backupsPrefix: `${base}/backups/`,
    membersPrefix: `${base}/members/`,
  };
};

/** What a member's token may write; everything of its cache may be read. */
export function writtenByMember(cache: string, member: string): string[] {
  const keys = cacheKeys(cache);
  return [keys.lead, keys.leader, keys.move, keys.birth, keys.cluster, keys.member(member)];
}
