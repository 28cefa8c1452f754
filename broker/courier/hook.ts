import { spawn } from 'node:child_process';
import type { HookDestination } from './courier-frames.ts';
import { bodyOf, type Notice } from './notice.ts';
import { DeliveryError } from './webhook.ts';

const PATH = 'PATH=/usr/local/bin:/usr/bin:/bin';

/**
 * One attempt: the program runs with its fixed arguments and the notice as one line of JSON on standard input. No shell,
 * no environment but a PATH, nothing of its output is read. Exit code 0 means delivered.
 *
 * @throws DeliveryError
 */
export function runHook({ command, timeoutMs }: HookDestination, notice: Notice): Promise<void> {
  return new Promise((resolve, reject) => {
    // Node hands its own permissions down in NODE_OPTIONS, with every path that they name: `env -i` drops them. It puts
    // the program in its own place, without a shell; a path with `=` is refused by the configuration.
    const child = spawn('/usr/bin/env', ['-i', PATH, ...command], {
      cwd: '/',
      env: {},
      stdio: ['pipe', 'ignore', 'ignore'],
      shell: false,
      // A group of its own: what it starts ends with it.
      detached: true,
    });
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      endGroup(child.pid);
    }, timeoutMs);
    child.once('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      reject(new DeliveryError(`cannot be started: ${error.code ?? error.name}`));
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      if (isLate) reject(new DeliveryError('did not end in time'));
      else if (code === 0) resolve();
      else reject(new DeliveryError(howItEnded(code, signal)));
    });
    // A program that does not read what it is told may still do its work; its exit code says so.
    child.stdin.on('error', () => child.stdin.destroy());
    child.stdin.end(`${bodyOf(notice)}\n`);
  });
}

function howItEnded(code: number | null, signal: NodeJS.Signals | null): string {
  if (signal !== null) return `ended by ${signal}`;
  // POSIX, env: it was found and could not be run, or it was not found.
  return code === 126 || code === 127 ? `cannot be started (exit code ${code})` : `exit code ${code}`;
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // It has just ended.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
