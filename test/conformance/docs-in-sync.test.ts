import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { SOFTHSM2_PLACES } from '../../broker/init/module-path.ts';
import { REASONS } from '../../broker/keyuse/failure.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** google.rpc.Code, without OK, UNKNOWN and what is never sent. */
const GRPC_CODES = new Set([
  'CANCELLED',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'PERMISSION_DENIED',
  'UNAUTHENTICATED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
]);

describe('README.md', () => {
  const readme = read('README.md');
  const rows = [...readme.matchAll(/^\| `([A-Z_]+)` \| ([A-Z_]+) \| ([^|]+) \| ([^|]+) \|$/gm)];

  test('lists every reason that a caller can be told, and no other', () => {
    expect(rows.map((row) => row[1])).toEqual([...REASONS]);
  });

  test('gives each a gRPC code that Lastmile sends, a meaning and an advice', () => {
    for (const [, reason, code = '', meaning = '', advice = ''] of rows) {
      expect([reason, GRPC_CODES.has(code)]).toEqual([reason, true]);
      expect([reason, meaning.trim().length > 10, advice.trim().length > 5]).toEqual([reason, true, true]);
    }
  });

  test('maps the tree as it is', () => {
    const map = /## The tree\n\n```\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
    const lines = [...map.matchAll(/^( *)([\w./-]+) {2,}\S/gm)].map(([, indent = '', name = '']) =>
      indent === '' ? name : `broker/${name}`,
    );
    expect(lines.length).toBeGreaterThan(15);
    const named = lines.filter((path) => path.endsWith('/')).map((path) => path.slice(0, -1));
    const tracked = execFileSync(
      'git',
      ['ls-files', '--', 'broker', 'policy', 'hsm-adapters', 'test', 'bench', 'deploy'],
      {
        cwd: root,
        encoding: 'utf8',
      },
    );
    const folders = new Set(
      tracked.split('\n').flatMap((path) => {
        const parts = path.split('/');
        return [
          ...(parts.length > 1 ? [parts[0] ?? ''] : []),
          ...(parts[0] === 'broker' && parts.length > 2 ? [`broker/${parts[1]}`] : []),
        ];
      }),
    );
    expect([...folders].filter((folder) => !named.includes(folder))).toEqual([]);
  });
});

describe('links between documents', () => {
  const documents = execFileSync('git', ['ls-files', '--', '*.md'], { cwd: root, encoding: 'utf8' })
    .trim()
    .split('\n');

  test('there are documents', () => {
    expect(documents).toContain('README.md');
  });

  test.each(documents)('%s links to files that exist', (document) => {
    const targets = [...read(document).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map(
      (match) => match[1] ?? '',
    );
    const missing = targets.filter((target) => !existsSync(join(root, dirname(document), target)));
    expect(missing).toEqual([]);
  });
});

describe('deploy/bootstrap.sh', () => {
  test('looks for SoftHSM2 in the places where init looks', () => {
    const script = read('deploy/bootstrap.sh');
    const places = /for path in \\\n([\s\S]*?); do/.exec(script)?.[1] ?? '';
    expect(places.split(/[\s\\]+/).filter((word) => word !== '')).toEqual([...SOFTHSM2_PLACES]);
  });

  test('installs the packages that the container installs too', () => {
    const packages = [...read('deploy/container/Containerfile').matchAll(/^ {4}([a-z0-9+.-]+)( \\)?$/gm)].map(
      (match) => match[1],
    );
    expect(packages).toEqual(expect.arrayContaining(['softhsm2', 'g++', 'make', 'python3', 'openssl']));
  });
});

describe('what starts a broker', () => {
  test.each(['package.json', 'deploy/container/lastmile.sh', 'deploy/systemd/lastmile.service'])(
    '%s lets nobody open its inspector by SIGUSR1',
    (path) => {
      const starts = [...read(path).matchAll(/node (\S+) \S*broker\/main\.[jt]s/g)];
      expect(starts.map((match) => match[1])).toEqual(['--disable-sigusr1']);
    },
  );
});

describe('CHANGELOG.md', () => {
  test('has an entry for the version in package.json or an unreleased one', () => {
    const { version } = JSON.parse(read('package.json')) as { version: string };
    const headings = [...read('CHANGELOG.md').matchAll(/^## \[([^\]]+)\]/gm)].map((match) => match[1]);
    expect(headings.some((heading) => heading === 'Unreleased' || heading === version)).toBe(true);
  });
});

describe('the examples', () => {
  test('each has a test that runs it', () => {
    const tests = readdirSync(join(root, 'test/all'))
      .filter((file) => file.endsWith('.test.ts'))
      .map((file) => read(join('test/all', file)));
    for (const language of readdirSync(join(root, 'deploy/examples'))) {
      expect([language, tests.some((source) => source.includes(`deploy/examples/${language}/`))]).toEqual([
        language,
        true,
      ]);
    }
  });
});
