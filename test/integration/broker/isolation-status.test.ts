import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type RunningInstance, runLastmile, startInstance } from '../../fakes/instance.ts';
import { operator, type Status, status, workload } from '../../fakes/instance-clients.ts';

/** `status` says in so many words when nothing but good manners parts the processes. */

const WARNING = 'processes not isolated';

async function withMode(
  mode: string,
  run: (instance: RunningInstance, now: Status) => Promise<void>,
): Promise<void> {
  const instance = await startInstance({
    prepare: async (directory) => {
      const file = join(directory, 'lastmile.yaml');
      const text = await readFile(file, 'utf8');
      expect(text).toContain('mode: auto');
      await writeFile(file, text.replace('mode: auto', `mode: ${mode}`));
    },
  });
  const admin = await operator(instance);
  const client = await workload(instance, 'payments');
  try {
    await client.sign({ key: 'payments/jwt', algorithm: 'ES256', message: Buffer.from('served') });
    await run(instance, await status(admin));
  } finally {
    client.close();
    admin.close();
    await instance.stop();
  }
}

describe('isolation.mode', () => {
  it('shared: every process has the broker’s user, and `status` and the start say so', async () => {
    await withMode('shared', async (instance, { warnings, processes }) => {
      expect(warnings).toContainEqual(expect.stringContaining(WARNING));
      expect(instance.output()).toContain(WARNING);
      expect(new Set(processes.map(({ uid }) => uid))).toEqual(new Set([process.getuid!()]));
      const said = await runLastmile(['status', '--instance', instance.directory]);
      expect(said).toContain(`warning: ${WARNING}`);
    });
  });

  it.skipIf(process.getuid?.() !== 0)(
    'users (needs root): every process has a user of its own, and nothing is to be said',
    async () => {
      await withMode('users', async (instance, { warnings, processes }) => {
        expect(warnings.join()).not.toContain(WARNING);
        expect(instance.output()).not.toContain(WARNING);
        const uids = processes.map(({ uid }) => uid);
        expect(new Set(uids).size).toBe(uids.length);
        expect(uids.filter((uid) => uid === 0)).toHaveLength(1);
        for (const { pid, uid } of processes) {
          const found = await readFile(`/proc/${pid}/status`, 'utf8');
          expect(found).toMatch(new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s+${uid}\\s+${uid}$`, 'm'));
        }
        expect(await runLastmile(['status', '--instance', instance.directory])).not.toContain(WARNING);
      });
    },
  );
});
