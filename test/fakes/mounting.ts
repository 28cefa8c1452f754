import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Whether this user may mount: a test of a small disk needs that, and says so by its name where it is skipped. */
export function canMount(): boolean {
  const at = mkdtempSync(join(tmpdir(), 'lastmile-mount-'));
  const isMounted = spawnSync('mount', ['-t', 'tmpfs', 'lastmile-test', at]).status === 0;
  if (isMounted) execFileSync('umount', [at]);
  rmdirSync(at);
  return isMounted;
}
