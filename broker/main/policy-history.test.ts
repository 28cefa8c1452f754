import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PolicyHistory, policyHash, writePolicyFile } from './policy-history.ts';

const FIRST = Buffer.from('version: 1\n');

let directory: string;
let place: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'policy-history-'));
  place = join(directory, 'policies');
});
afterEach(() => rm(directory, { recursive: true }));

describe('the history of policies', () => {
  it('keeps each under its hash, for its owner alone', async () => {
    const history = await PolicyHistory.open(place);
    const hash = await history.keep(FIRST);
    expect(hash).toBe(policyHash(FIRST));
    expect(await history.read(hash)).toEqual(FIRST);
    expect(await history.list()).toEqual(new Set([hash]));
    const [name = ''] = await readdir(place);
    expect(name).toBe(`${hash.slice(7)}.yaml`);
    expect((await stat(join(place, name))).mode & 0o777).toBe(0o600);
    expect((await stat(place)).mode & 0o777).toBe(0o700);
  });

  it('gives out nothing that is not what its name says, and keeps it again', async () => {
    const history = await PolicyHistory.open(place);
    const hash = await history.keep(FIRST);
    await writeFile(join(place, `${hash.slice(7)}.yaml`), 'version: 1\nrules: [everything]\n');
    expect(await history.read(hash)).toBeUndefined();
    await history.keep(FIRST);
    expect(await history.read(hash)).toEqual(FIRST);
  });

  it('keeps the newest of what was proposed, and everything that was in force', async () => {
    const history = await PolicyHistory.open(place);
    await history.keep(FIRST);
    const proposals = Array.from({ length: 70 }, (_, i) => Buffer.from(`version: 1 # ${i}\n`));
    for (const [i, bytes] of proposals.entries()) {
      await history.keepProposed(bytes);
      await utimes(join(place, `${policyHash(bytes).slice(7)}.proposed.yaml`), i, i);
    }
    const kept = await Promise.all(proposals.map((bytes) => history.read(policyHash(bytes))));
    expect(kept).toEqual(proposals.map((bytes, i) => (i < 6 ? undefined : bytes)));
    expect(await history.list()).toEqual(new Set([policyHash(FIRST)]));
    await history.keep(proposals[69]!);
    expect(await history.list()).toEqual(new Set([FIRST, proposals[69]!].map(policyHash)));
    expect(await history.read(policyHash(proposals[69]!))).toEqual(proposals[69]);
  });

  it.each(['', 'sha256:', '../../etc/passwd', `sha256:../${'0'.repeat(61)}`, `sha256:${'0'.repeat(64)}`])(
    'has nothing under %j',
    async (hash) => {
      const history = await PolicyHistory.open(place);
      expect(await history.read(hash)).toBeUndefined();
    },
  );

  it('removes what a crash left half written', async () => {
    const history = await PolicyHistory.open(place);
    const hash = await history.keep(FIRST);
    await writeFile(join(place, `.${'0'.repeat(64)}.yaml.abcdef`), 'vers');
    await PolicyHistory.open(place);
    expect(await readdir(place)).toEqual([`${hash.slice(7)}.yaml`]);
  });
});

describe('writing the policy file', () => {
  it('keeps its mode, and a link a link', async () => {
    const file = join(directory, 'policy.yaml');
    const link = join(directory, 'link.yaml');
    await writeFile(file, 'old');
    await chmod(file, 0o640);
    await symlink(file, link);
    await writePolicyFile(link, FIRST);
    expect(await readFile(file)).toEqual(FIRST);
    expect((await stat(file)).mode & 0o777).toBe(0o640);
    expect(await readdir(directory)).toEqual(['link.yaml', 'policy.yaml']);
  });
});
