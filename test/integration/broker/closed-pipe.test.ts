import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const main = fileURLToPath(new URL('../../../broker/main.ts', import.meta.url));

describe('a command whose output nobody reads any more', () => {
  it.each([['init', '--help'], ['--help'], ['no-such-command']])('ends quietly: %s', async (...argv) => {
    const child = spawn(process.execPath, [main, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
    // Long before the command has loaded: its first write finds no reader.
    child.stdout.destroy();
    const errors: Buffer[] = [];
    child.stderr.on('data', (piece: Buffer) => errors.push(piece));
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    expect(signal).toBeNull();
    expect([0, 2]).toContain(code);
    expect(Buffer.concat(errors).toString()).not.toContain('EPIPE');
  });
});
