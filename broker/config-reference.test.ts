import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { outdatedReferenceFiles, referenceFiles } from './config-reference.ts';

it('is what the schemas say (run `node broker/config-reference.ts`)', () => {
  expect(outdatedReferenceFiles(new URL('../', import.meta.url))).toEqual([]);
});

it('notices files that are missing', () => {
  const empty = mkdtempSync(join(tmpdir(), 'lastmile-reference-'));
  try {
    expect(outdatedReferenceFiles(pathToFileURL(`${empty}/`))).toHaveLength(3);
  } finally {
    rmSync(empty, { recursive: true });
  }
});

it('describes every name', () => {
  const markdown = referenceFiles().find(({ path }) => path.endsWith('.md'))?.content ?? '';
  const rows = markdown.split('\n').filter((line) => line.startsWith('| `'));
  expect(rows.length).toBeGreaterThan(50);
  expect(rows.filter((row) => row.endsWith('|  |'))).toEqual([]);
});
