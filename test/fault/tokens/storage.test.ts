import { execFileSync } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  openSync,
  readdirSync,
  rmSync,
  statfsSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KeyVersion } from '../../../broker/keyuse/key-catalog.ts';
import type { TokenAdapter } from '../../../hsm-adapters/adapter.ts';
import { failureOf } from '../../fakes/key-use-fixture.ts';
import { canMount } from '../../fakes/mounting.ts';
import { MODULE, makeDirectory, makeToken, type SoftToken } from '../../integration/pkcs11/soft-token.ts';
import { becomes, KeyUseUnderLoad, type Outcome, openWorker } from './harness.ts';

/** Two tokens, the files of the first on a file system of its own, which gets full or cannot be written. */

/** Of no key. */
const REF = 0xffff_fff0;

let all: KeyUseUnderLoad;
let softTokens: readonly SoftToken[];
let disk = '';

/** As `keyUse.create` of an operator, on these tokens. */
const create = (key: string, tokens: readonly string[]): Promise<KeyVersion> =>
  all.administration.create({
    key,
    purpose: '',
    algorithms: ['ES256'],
    tokens,
    modulusBits: 0,
    verify: '',
  });

function remount(how: 'ro' | 'rw'): void {
  execFileSync('mount', ['-o', `remount,${how}`, disk]);
}

/** What a file takes at the least; SoftHSM2 has one for each object, and none as large as this. */
const PAGE_BYTES = 4096;

/** Leaves room for so much and not more. */
function fill(leftBytes: number): void {
  const file = openSync(join(disk, 'filler'), 'w');
  const block = Buffer.alloc(PAGE_BYTES);
  let written = 0;
  try {
    for (;;) written += writeSync(file, block);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    ftruncateSync(file, written - leftBytes);
  } finally {
    closeSync(file);
  }
  expect(statfsSync(disk).bavail * PAGE_BYTES).toBe(leftBytes);
}

const free = (): void => unlinkSync(join(disk, 'filler'));

const objectFiles = ({ directory }: SoftToken): string[] =>
  readdirSync(join(directory, 'tokens'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.object'))
    .sort();

const failed = (outcomes: readonly Outcome[]) => outcomes.flatMap(({ failure }) => failure ?? []);

/** Signatures from now on, until the first token has made so many of them. */
async function firstSigns(wanted: number): Promise<readonly Outcome[]> {
  const [one] = all.adapters as [TokenAdapter];
  all.log.entries.length = 0;
  all.log.refusals.length = 0;
  const end = performance.now() + 15_000;
  const byOne = (): number =>
    all.uses.filter(({ attempts = [] }) => attempts.at(-1)?.token === one.info!.serial).length;
  const outcomes = await all.load(8, () => byOne() >= wanted || performance.now() > end);
  expect(all.findings(outcomes)).toEqual([]);
  expect(byOne()).toBeGreaterThanOrEqual(wanted);
  return outcomes;
}

describe.skipIf(!canMount())('under a token (needs the right to mount)', () => {
  beforeEach(async () => {
    const lines: string[] = [];
    softTokens = ['one', 'two'].map((label) => {
      const directory = makeDirectory();
      if (label === 'one') {
        disk = join(directory, 'tokens');
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'lastmile-test', disk]);
      }
      return makeToken(directory, label);
    });
    const adapters = softTokens.map(({ label, directory, pinFile }) =>
      openWorker(
        {
          name: label,
          module: MODULE,
          profile: 'softhsm2',
          label,
          pin: { kind: 'file', path: pinFile },
          sessions: 4,
          directory,
          environment: { SOFTHSM2_CONF: 'softhsm2.conf' },
          groups: [],
          hangLimitMs: 10_000,
        },
        (line) => lines.push(line),
      ),
    );
    all = new KeyUseUnderLoad(adapters, lines);
    await all.begin([['app/sign', 'ES256']]);
  });

  afterEach(async () => {
    await all?.close();
    if (disk !== '') execFileSync('umount', [disk]);
    disk = '';
    for (const { directory } of softTokens) rmSync(directory, { recursive: true, force: true });
  });

  it.each([
    ['a full disk', 0, () => fill(0), free],
    ['a disk with room for half a key pair', PAGE_BYTES, () => fill(PAGE_BYTES), free],
    ['a read-only disk', 0, () => remount('ro'), () => remount('rw')],
  ] as const)(
    '%s: keys are used, none is made, and all is well when it is mended',
    async (_, left, spoil, mend) => {
      const [one] = all.adapters as [TokenAdapter];
      expect(failed(await firstSigns(50))).toEqual([]);
      const before = softTokens.map(objectFiles);
      spoil();
      for (const tokens of [['one'], ['one', 'two'], ['two', 'one']]) {
        const failure = await failureOf(create('app/new', tokens));
        expect(['TOKEN_UNREACHABLE', 'KEY_UNUSABLE']).toContain(failure.reason);
        expect(failure.message).toMatch(/^token one: .* no such key; .* full or read-only/);
        expect(failure.message.match(/CKR_/g)?.length ?? 0).toBeLessThanOrEqual(1);
        for (const { administration } of all.adapters) {
          await expect(
            administration.bind(REF, { label: 'app/new#1', kind: 'private' }),
          ).rejects.toMatchObject({ reason: 'KEY_MISSING_ON_TOKEN' });
        }
        // A file that SoftHSM2 could not write to its end stays, and no object is read from it again.
        if (left === 0) expect(softTokens.map(objectFiles)).toEqual(before);
      }
      // What cannot be written can still be read: neither use nor a new login needs more.
      expect(failed(await firstSigns(50))).toEqual([]);
      const { loginGeneration } = one;
      process.kill(one.worker!.pid, 'SIGKILL');
      await becomes(one, (token) => token.loginGeneration > loginGeneration && token.state === 'ready');
      await all.keys.settled();
      expect(failed(await firstSigns(50))).toEqual([]);

      mend();
      // No name was taken by what was refused.
      const { objects } = await create('app/new', ['one', 'two']);
      expect(objects).toHaveLength(2);
      expect(failed(await firstSigns(50))).toEqual([]);
    },
  );
});
