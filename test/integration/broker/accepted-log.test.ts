import { cp, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RunningInstance, runLastmile, startInstance } from '../../fakes/instance.ts';

// An operator has lost the disk of the log, and has an older backup of it.

let instance: RunningInstance;
let log: string;
let backup: string;

beforeAll(async () => {
  instance = await startInstance();
  expect(await instance.end()).toBe(0);
  log = join(instance.directory, 'audit');
  backup = `${instance.directory}-backup`;
  await cp(log, backup, { recursive: true });
  instance = await instance.serveAgain();
  expect(await instance.end()).toBe(0);
  await restore();
});

afterAll(async () => {
  await rm(backup, { recursive: true, force: true });
  await instance?.stop();
});

async function restore(): Promise<void> {
  await rm(log, { recursive: true });
  await cp(backup, log, { recursive: true });
}

function accept(reason: string): Promise<string> {
  return runLastmile(['audit', 'accept', '--reason', reason, '--instance', instance.directory, '--json']);
}

async function serving(): Promise<string> {
  try {
    instance = await instance.serveAgain();
    return 'it serves';
  } catch (error) {
    return (error as Error).message;
  }
}

async function copies(): Promise<readonly string[]> {
  return (await readdir(instance.directory)).filter((name) => name.startsWith('audit.before-'));
}

it('is not served on by itself', async () => {
  expect(await serving()).toContain('the audit log is inconsistent');
});

it('is not accepted while its files do not agree among themselves, and stays as it is', async () => {
  const before = await readFile(join(log, 'treehead'));
  await rm(join(log, 'tile', 'entries'), { recursive: true });
  await expect(accept('nothing better')).rejects.toThrow('do not agree among themselves');
  expect(await copies()).toEqual([]);
  expect((await readFile(join(log, 'treehead'))).equals(before)).toBe(true);
  await restore();
  expect(await serving()).toContain('the audit log is inconsistent');
});

it('is not accepted without a reason', async () => {
  await expect(accept(' ')).rejects.toThrow('say why');
});

it('is gone on with once somebody has accepted it, on record, everything kept', async () => {
  const accepted = JSON.parse(await accept('restored the backup of Sunday'));
  expect(accepted.finding).toMatch(/the log has \d+ entries, \d+ were signed/);
  expect(await copies()).toHaveLength(1);
  const remembered = JSON.parse(await readFile(join(accepted.kept, 'remembered.json'), 'utf8'));
  expect(remembered.treeSize).toBeGreaterThan(0);
  expect((await readdir(accepted.kept)).sort()).toEqual(
    expect.arrayContaining(['audit-index.db', 'checkpoint', 'tile', 'treehead']),
  );

  expect(await serving()).toBe('it serves');
  const as = ['--as', 'auditor', '--instance', instance.directory];
  const shown = JSON.parse(await runLastmile(['audit', 'show', `${accepted.leafIndex}`, ...as, '--json']));
  expect(shown.entry).toMatchObject({
    kind: 'log',
    operation: 'log.accept',
    detail: { why: 'restored the backup of Sunday', finding: accepted.finding, remembered },
  });
  expect(await runLastmile(['audit', 'verify', ...as])).toMatch(/^result: +sound$/m);
});

it('is not accepted while the broker runs, nor when nothing is wrong', async () => {
  await expect(accept('again')).rejects.toThrow('is another broker running on it');
  expect(await instance.end()).toBe(0);
  await expect(accept('again')).rejects.toThrow('there is nothing to accept');
  expect(await copies()).toHaveLength(1);
  expect(await serving()).toBe('it serves');
});

it('is gone on with, on record, where the state says that another policy is in force', async () => {
  expect(await instance.end()).toBe(0);
  const state = new DatabaseSync(join(instance.directory, 'state', 'state.db'));
  state.exec("UPDATE policy_known SET governed = 1 WHERE role = 'in-force'");
  state.close();
  expect(await serving()).toContain('the log and the state disagree about the policy in force');

  const accepted = JSON.parse(await accept('the state is the wrong one'));
  expect(accepted.policy).toMatch(/by the log it is (sha256:\w+) without `governance`, by the state \1 with/);
  expect(accepted.finding).toBe(accepted.policy);
  expect(await serving()).toBe('it serves');
  const as = ['--as', 'auditor', '--instance', instance.directory];
  const { entry } = JSON.parse(
    await runLastmile(['audit', 'show', `${accepted.leafIndex}`, ...as, '--json']),
  );
  expect(entry.detail).toMatchObject({ why: 'the state is the wrong one', policy: accepted.policy });
});
