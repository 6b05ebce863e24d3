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
    /** Lock that sessions hold beside the member's record; nothing rests on it. */
    leader: `${base}/leader`,
    member: (member: string) => `${base}/members/${member}`,
    /** Of backups: asked for by the API or the schedule, done by sidecars. */
    backup: (id: string) => `${base}/backups/${id}`,
    backupsPrefix: `${base}/backups/`,
    membersPrefix: `${base}/members/`,
  };
};
