import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

/** A process that nobody has waited for yet (a zombie) is gone all the same. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
      return false;
    throw error;
  }
}

/** Nobody tells a stranger of a process's end: it has to be looked at. */
export async function whenGone(pids: readonly number[], withinMs = 10_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (pids.some(isAlive)) {
    if (performance.now() > end) throw new Error(`still there: ${pids.filter(isAlive).join(', ')}`);
    await pause(10);
  }
}
