import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type Arrow, arrowsOf, objection, readArrows } from './import-graph.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

function wrong(arrows: readonly Arrow[]): readonly string[] {
  return arrows.flatMap((arrow) => {
    const why = objection(arrow);
    return why === undefined ? [] : [`${arrow.from} → ${arrow.to}: ${why}`];
  });
}

describe('the import graph', () => {
  const arrows = readArrows(root);

  test('is seen', () => {
    expect(arrows.length).toBeGreaterThan(50);
    expect(arrows).toContainEqual({ from: 'broker/identity/identity.ts', to: 'policy/spiffe-id.ts' });
    expect(arrows).toContainEqual({ from: 'broker/proto/codec.ts', to: 'protobufjs' });
  });

  test('has no arrow that points the wrong way', () => {
    expect(wrong(arrows)).toEqual([]);
  });

  test('names the extension of every local file, so that it runs without a build', () => {
    const local = arrows.filter(({ to }) => /^(broker|policy|hsm-adapters)\//.test(to));
    expect(local.filter(({ to }) => !/\.(ts|json)$/.test(to))).toEqual([]);
  });
});

describe('a wrong arrow is caught', () => {
  test.each([
    ['policy/window.ts', 'node:fs'],
    ['policy/window.ts', 'broker/keyuse/failure.ts'],
    ['hsm-adapters/supervisor/token-supervisor.ts', 'hsm-adapters/pkcs11/cryptoki.ts'],
    ['hsm-adapters/supervisor/token-supervisor.ts', 'pkcs11js'],
    ['hsm-adapters/pkcs11/session-pool.ts', 'pkcs11js'],
    ['hsm-adapters/frames/frame-channel.ts', 'broker/telemetry/logger.ts'],
    ['hsm-adapters/frames/frame-channel.ts', 'policy/decision.ts'],
    ['broker/audit/tlog/proof.ts', 'node:fs'],
    ['broker/audit/tlog/proof.ts', 'broker/audit/entry.ts'],
    ['broker/identity/x509-svid.ts', 'broker/keyuse/failure.ts'],
    ['broker/identity/x509-svid.ts', '@peculiar/x509'],
    ['broker/keyuse/sign.ts', '@grpc/grpc-js'],
    ['broker/keyuse/sign.ts', 'hsm-adapters/pkcs11/ckr.ts'],
    ['broker/api/key-use.ts', 'hsm-adapters/adapter.ts'],
    ['broker/gateway/gateway.ts', 'broker/keyuse/failure.ts'],
    ['broker/gateway/gateway.ts', 'hsm-adapters/supervisor/token-supervisor.ts'],
    ['broker/cli/status.ts', 'broker/keyuse/failure.ts'],
    ['broker/cli/init.ts', 'broker/init/instance.ts'],
    ['broker/cli/serve.ts', 'broker/config.ts'],
    ['broker/cli/serve.ts', 'broker/main.ts'],
    ['broker/main.ts', 'hsm-adapters/pkcs11/cryptoki.ts'],
    ['broker/unheard-of/file.ts', 'node:fs'],
    ['broker/cli/status.ts', 'left-pad'],
  ])('%s → %s', (from, to) => {
    expect(objection({ from, to })).toBeTypeOf('string');
  });

  test.each([
    ['hsm-adapters/pkcs11/cryptoki.ts', 'pkcs11js'],
    ['broker/keyuse/sign.ts', 'hsm-adapters/adapter.ts'],
    ['broker/gateway/gateway.ts', 'hsm-adapters/frames/child-side.ts'],
    ['broker/cli/audit.ts', 'broker/audit/tlog/verify-log.ts'],
    ['broker/main.ts', 'broker/init/instance.ts'],
    ['policy/schema.ts', 'zod'],
  ])('and a right one is not: %s → %s', (from, to) => {
    expect(objection({ from, to })).toBeUndefined();
  });

  test('in every form that an import can be written in', () => {
    const source = [
      "import { a } from './a.ts';",
      "import type { B } from './b.ts';",
      "import {\n  c,\n  type D,\n} from './c.ts';",
      "import './d.ts';",
      "export { e } from './e.ts';",
      "export * from './f.ts';",
      "const g = await import('./g.ts');",
      "function h(x: import('./h.ts').H): void {}",
      "const i = createRequire(import.meta.url)('x');\nconst j = require('./j.cjs');",
      "const worker = new URL('./not-an-import.ts', import.meta.url);",
      "// import { k } from './commented.ts';",
      "/**\n * import { l } from './documented.ts';\n */",
    ].join('\n');
    expect(arrowsOf('policy/x.ts', source).map((arrow) => arrow.to)).toEqual(
      ['a.ts', 'b.ts', 'c.ts', 'd.ts', 'e.ts', 'f.ts', 'g.ts', 'h.ts', 'j.cjs'].map(
        (name) => `policy/${name}`,
      ),
    );
  });

  test('and one whose target is computed is refused', () => {
    expect(() => arrowsOf('policy/x.ts', 'const m = await import(name);')).toThrow(/computed/);
  });
});
