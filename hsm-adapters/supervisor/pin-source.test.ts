import { describe, expect, test } from 'vitest';
import { pinSource } from './pin-source.ts';

const log = () => undefined;

describe('pinSource', () => {
  test('a file is known by its path, and read by the worker', () => {
    expect(pinSource({ kind: 'file', path: '/etc/pin' }, log)).toEqual({
      reference: 'file:/etc/pin',
      start: { file: '/etc/pin' },
      file: '/etc/pin',
      wire: undefined,
    });
  });

  test('a systemd credential is known by its name, wherever systemd puts it this time', () => {
    const first = pinSource({ kind: 'credential', name: 'hsm-pin' }, log, '/run/credentials/a');
    const second = pinSource({ kind: 'credential', name: 'hsm-pin' }, log, '/run/credentials/b');
    expect(first).toMatchObject({
      reference: 'credential:hsm-pin',
      start: { file: '/run/credentials/a/hsm-pin' },
    });
    expect(second.reference).toBe(first.reference);
  });

  test('a credential needs systemd, and stays in its directory', () => {
    expect(() => pinSource({ kind: 'credential', name: 'hsm-pin' }, log, '')).toThrow('LoadCredential=');
    for (const name of ['../shadow', 'a/b', '..', '.', '']) {
      expect(() => pinSource({ kind: 'credential', name }, log, '/run/credentials/a'), name).toThrow(
        'not the name',
      );
    }
  });

  test('commands that differ in an argument are different references', () => {
    const [one, other] = [
      ['get', 'a b'],
      ['get', 'a', 'b'],
    ].map((argv) => pinSource({ kind: 'command', argv }, log).reference);
    expect(one).not.toBe(other);
    expect(() => pinSource({ kind: 'command', argv: [] }, log)).toThrow('empty');
  });
});
