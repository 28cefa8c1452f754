import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startCourier } from '../../../broker/courier/courier-supervisor.ts';
import { roleUsers, treeRoot } from '../../../hsm-adapters/frames/isolation.ts';

/** Runs in the courier's place, with its flags, its user, its environment and its directory. */
const INTRUDER = `
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { connectToParent, dropPrivileges, readChildArguments } from '../../hsm-adapters/frames/child-side.ts';
const { user } = readChildArguments();
const channel = connectToParent({
  frame(type, id, payload) {
    const { targets } = JSON.parse(payload.toString('utf8'));
    dropPrivileges(user);
    const attempt = (run) => { try { run(); return 'done'; } catch (error) { return error.code ?? error.name; } };
    const found = {
      readsOpenFile: attempt(() => readFileSync(targets.open)),
      listsAbove: attempt(() => readdirSync('..')),
      writesBeside: attempt(() => writeFileSync(targets.beside, 'x')),
      startsProgram: attempt(() => execFileSync('/bin/true')),
      loadsAddon: attempt(() => process.dlopen({ exports: {} }, '/nowhere.node')),
      writesQueue: attempt(() => writeFileSync('mine.tmp', 'x')),
      environment: Object.keys(process.env).sort().join(),
    };
    process.stdout.write('FOUND ' + JSON.stringify(found) + '\\n');
  },
  closed() {},
});
`;

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'lastmile-courier-intruder-'));
  chmodSync(base, 0o755);
});
afterEach(() => rmSync(base, { recursive: true }));

async function letIn(hasHooks: boolean): Promise<Record<string, string>> {
  const tree = join(base, 'tree/');
  cpSync(join(treeRoot(), 'hsm-adapters/frames/'), join(tree, 'hsm-adapters/frames/'), { recursive: true });
  mkdirSync(join(tree, 'broker/courier'), { recursive: true });
  writeFileSync(join(tree, 'package.json'), '{"type":"module"}');
  writeFileSync(join(tree, 'broker/courier/courier.ts'), INTRUDER);
  mkdirSync(join(base, 'state'), { mode: 0o700 });
  writeFileSync(join(base, 'open'), 'anybody may read this', { mode: 0o644 });
  const lines: string[] = [];
  let look = (): void => undefined;
  // The configuration is whatever the intruder wants to know.
  const configuration = {
    destinations: hasHooks
      ? [{ kind: 'hook' as const, name: 'x', events: [], command: ['/bin/true'], timeoutMs: 1 }]
      : [],
    giveUpAfterMs: 1,
    firstRetryMs: 1,
    longestRetryMs: 1,
    maxQueued: 1,
    targets: { open: join(base, 'open'), beside: join(base, 'beside') },
  };
  const courier = startCourier({
    configuration,
    queueDirectory: join(base, 'state/courier'),
    user: roleUsers().courier,
    root: tree,
    log: (_level, message) => {
      lines.push(message);
      look();
    },
  });
  try {
    const line = await new Promise<string>((resolve) => {
      look = () => {
        const found = lines.find((candidate) => candidate.startsWith('FOUND '));
        if (found !== undefined) resolve(found);
      };
      look();
    });
    return JSON.parse(line.slice(6)) as Record<string, string>;
  } finally {
    await courier.stop();
  }
}

test('a courier that was taken over reads, writes and starts nothing but its own', async () => {
  expect(await letIn(false)).toEqual({
    readsOpenFile: 'ERR_ACCESS_DENIED',
    listsAbove: 'ERR_ACCESS_DENIED',
    writesBeside: 'ERR_ACCESS_DENIED',
    startsProgram: 'ERR_ACCESS_DENIED',
    loadsAddon: 'ERR_DLOPEN_DISABLED',
    writesQueue: 'done',
    // PWD is the shell's that has put Node in its place.
    environment: 'MALLOC_ARENA_MAX,PWD',
  });
});

test('one with hooks can start programs, and says nothing else of the broker', async () => {
  expect(await letIn(true)).toMatchObject({
    readsOpenFile: 'ERR_ACCESS_DENIED',
    writesBeside: 'ERR_ACCESS_DENIED',
    startsProgram: 'done',
  });
});
