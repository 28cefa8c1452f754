import { describe, expect, test } from 'vitest';
import { parseStat, roleOf } from './linux-processes.ts';

describe('what the kernel says of a process', () => {
  test('its parent and its time, whatever its name has in it', () => {
    const line = '4711 (a) b (c) S 42 4711 4711 0 -1 4194560 10 20 30 40 123 45 6 7 20 0 11 0 99 1 2';
    expect(parseStat(line)).toEqual({ parent: 42, ticks: 168 });
  });

  test('the role that the broker gave it', () => {
    const worker = ['node', '--permission', '/x/worker.ts', '{"role":"token-worker","name":"a"}', ''].join(
      '\0',
    );
    expect(roleOf(worker)).toBe('token-worker');
    expect(roleOf('node\0main.ts\0serve\0')).toBe('unnamed');
    expect(roleOf('')).toBe('unnamed');
  });
});
