import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AppError } from '#core/errors.ts';
import { hostPaths } from '#core/paths.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { pause } from '#test/pool/processes.ts';
import { tool } from '#test/pool/tools.ts';

/**
 * The disk that a host's members have their volumes on: a file system of its own in a file, so that it can be full without filling the machine's. A power cut
 * takes the mount away, so it is mounted again before the host boots.
 */
export interface Disks {
  mount(host: PoolHost): void;
  /** Takes all room there is. */
  fill(host: PoolHost): void;
  /** Gives it back. */
  free(host: PoolHost): void;
}

export function createDisks({ bytes }: { bytes: number }): Disks {
  // Beside the hosts' folders: it goes with the pool.
  const image = (host: PoolHost) => join(dirname(host.root), `volumes-${host.name}.img`);
  const folder = (host: PoolHost) => hostPaths(host.root).volumes;
  const ballast = (host: PoolHost) => join(folder(host), 'ballast');
  return {
    mount(host) {
      mkdirSync(folder(host), { recursive: true });
      if (!existsSync(image(host))) {
        const file = openSync(image(host), 'w');
        ftruncateSync(file, bytes);
        closeSync(file);
        tool('mkfs.ext4', ['-q', '-m', '0', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image(host)]);
      }
      // A device that a lazy unmount has not let go yet would be a second one on the same file.
      for (let tries = 0; tool('losetup', ['--associated', image(host)]) !== ''; tries++) {
        if (tries > 200) throw new AppError('internal', `${image(host)} is still in use`);
        pause(50);
      }
      tool('mount', ['-o', 'loop', image(host), folder(host)]);
    },
    fill(host) {
      const [blocks, size] = tool('stat', ['--file-system', '--format', '%a %S', folder(host)])
        .split(' ')
        .map(Number) as [number, number];
      tool('fallocate', ['--length', String(Math.floor(blocks * size * 0.98)), ballast(host)]);
      // The rest is not to be had in one piece.
      tool('dd', ['if=/dev/zero', `of=${ballast(host)}`, 'bs=16k', 'oflag=append', 'conv=notrunc'], { tolerate: true });
    },
    free(host) {
      rmSync(ballast(host), { force: true });
    },
  };
}
