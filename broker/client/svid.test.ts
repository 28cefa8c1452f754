import { mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { SvidIssuer, writeSvidFiles } from '../../test/fakes/svid-files.ts';
import { loadSvid, type SvidFiles, SvidSource } from './svid.ts';

const PAYMENTS = 'spiffe://example.org/ns/payments/sa/api';
let issuer: SvidIssuer;
let directory: string;
let files: SvidFiles;

beforeAll(async () => {
  issuer = await SvidIssuer.create();
});
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'svid-'));
  files = writeSvidFiles(directory, await issuer.issue(PAYMENTS), issuer.certificate);
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('loadSvid', () => {
  it.each(['certificateFile', 'keyFile', 'trustBundleFile'] as const)(
    'names the %s that is not there',
    async (which) => {
      rmSync(files[which]);
      await expect(loadSvid(files)).rejects.toMatchObject({
        reason: 'SVID_MISSING',
        performed: 'no',
        message: expect.stringContaining(`\`${files[which]}\`: ENOENT`),
      });
    },
  );

  it.each(['certificateFile', 'keyFile', 'trustBundleFile'] as const)(
    'names the %s that holds no PEM',
    async (which) => {
      writeFileSync(files[which], 'nothing of the kind');
      await expect(loadSvid(files)).rejects.toMatchObject({
        reason: 'SVID_INVALID',
        message: expect.stringContaining(files[which]),
      });
    },
  );

  it('refuses the key of another certificate', async () => {
    writeFileSync(files.keyFile, (await issuer.issue(PAYMENTS)).key);
    await expect(loadSvid(files)).rejects.toMatchObject({
      reason: 'SVID_INVALID',
      message: expect.stringContaining('is not the private key'),
    });
  });
});

describe('SvidSource', () => {
  it('looks at the files again when a second has passed, not before', async () => {
    let now = 0;
    const source = await SvidSource.open(files, () => now);
    const first = await source.current();
    writeSvidFiles(directory, await issuer.issue(PAYMENTS), issuer.certificate);
    now = 999;
    expect(source.current()).toBe(first);
    now = 1000;
    expect((await source.current()).fingerprint).not.toBe(first.fingerprint);
  });

  it('keeps the previous SVID while a rotation is half written, then takes the new one', async () => {
    const source = await SvidSource.open(files);
    const first = await source.current();
    const next = await issuer.issue(PAYMENTS);
    writeFileSync(files.certificateFile, next.certificate);
    expect(await source.refresh()).toBe(first);
    rmSync(files.keyFile);
    expect(await source.refresh()).toBe(first);
    writeFileSync(files.keyFile, next.key);
    expect((await source.refresh()).certificatePem.toString()).toBe(next.certificate);
  });

  it('sees a file that was replaced by one of the same size and time', async () => {
    const source = await SvidSource.open(files);
    const first = await source.current();
    const other = await SvidIssuer.create();
    const replacement = join(directory, 'bundle.new');
    writeFileSync(replacement, other.certificate);
    const time = new Date(1_700_000_000_000);
    utimesSync(replacement, time, time);
    renameSync(replacement, files.trustBundleFile);
    expect((await source.refresh()).fingerprint).not.toBe(first.fingerprint);
  });
});
