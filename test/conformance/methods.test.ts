import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { declaredMethods } from '../../broker/proto/codec.ts';
import { METHODS, methodByNumber } from '../../broker/proto/methods.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

describe('the table of methods', () => {
  test('equals the .proto files, in their order', () => {
    const table = METHODS.map(({ service, name, streaming }) => ({ service, name, streaming }));
    expect(table).toEqual(
      declaredMethods().map(({ service, name, streaming }) => ({ service, name, streaming })),
    );
  });

  test('gives every method a path and a number of its own that fits one byte', () => {
    for (const method of METHODS) {
      expect(method.path).toBe(`/lastmile.v1.${method.service}/${method.name}`);
      expect(method.number).toBeLessThanOrEqual(255);
      expect(methodByNumber(method.number)).toBe(method);
    }
    expect(new Set(METHODS.map((method) => method.number)).size).toBe(METHODS.length);
  });
});

describe('the generated message types', () => {
  const fresh = mkdtempSync(join(tmpdir(), 'lastmile-types-'));
  afterAll(() => rmSync(fresh, { recursive: true }));

  test('are what `npm run types` makes of the .proto files', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const [tool = '', ...words] = (scripts.types ?? '').split(' ');
    expect(tool).toBe('proto-loader-gen-types');
    const output = words.indexOf('-O') + 1;
    expect(words[output]).toBe('broker/proto/gen');
    const script = join(root, 'node_modules/@grpc/proto-loader/build/bin/proto-loader-gen-types.js');
    execFileSync(process.execPath, [script, ...words.with(output, fresh)], { cwd: root });

    const files = readdirSync(fresh, { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.ts'),
    );
    const committed = readdirSync(join(root, 'broker/proto/gen'), { recursive: true, encoding: 'utf8' });
    expect(committed.filter((file) => file.endsWith('.ts')).sort()).toEqual(files.sort());
    for (const file of files) {
      const now = readFileSync(join(root, 'broker/proto/gen', file), 'utf8');
      expect(now, `${file}: run npm run types`).toBe(readFileSync(join(fresh, file), 'utf8'));
    }
  });
});
