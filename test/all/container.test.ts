import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));
const read = (path: string): string => readFileSync(join(REPOSITORY, path), 'utf8');

interface Step {
  readonly instruction: string;
  readonly words: string;
}

/** The stages of the Containerfile, as their instructions. */
function stages(): readonly (readonly Step[])[] {
  const lines = read('deploy/container/Containerfile')
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '');
  const found: Step[][] = [];
  for (const line of lines) {
    const [, instruction = '', words = ''] = /^([A-Z]+) +(.*)$/.exec(line) ?? [];
    if (instruction === 'FROM') found.push([]);
    else found.at(-1)?.push({ instruction, words });
  }
  return found;
}

/** A scratch directory that is to this test what the image's file system is to the container. */
let image: string;
const inImage = (path: string): string => join(image, path);

// The steps of the Containerfile without an engine. `apt-get` and `npm ci` have been done here already: this machine has the
// packages, and this clone's node_modules is what the lockfile says.
beforeAll(() => {
  image = mkdtempSync(join(tmpdir(), 'lastmile-image-'));
  const [build = [], final = []] = stages();
  let directory = '/';
  for (const { instruction, words } of [...build, ...final]) {
    if (instruction === 'WORKDIR') {
      directory = words;
      mkdirSync(inImage(directory), { recursive: true });
    }
    if (instruction === 'COPY') copy(words, directory);
    if (instruction === 'RUN') run(words, directory);
  }
}, 300_000);

afterAll(() => {
  if (image !== undefined) rmSync(image, { recursive: true, force: true });
});

function copy(words: string, directory: string): void {
  const paths = words.split(/ +/);
  const options = paths.filter((path) => path.startsWith('--'));
  const [to = '', ...from] = paths.filter((path) => !path.startsWith('--')).reverse();
  for (const source of from) {
    const isBuilt = options.includes('--from=build');
    const target = to.startsWith('/') ? inImage(to) : inImage(join(directory, to));
    const exact = to.endsWith('/') ? join(target, source) : target;
    mkdirSync(dirname(exact), { recursive: true });
    cpSync(isBuilt ? inImage(source) : join(REPOSITORY, source), exact, {
      recursive: true,
      verbatimSymlinks: true,
    });
    if (options.includes('--chmod=0755')) chmodSync(exact, 0o755);
  }
}

function run(words: string, directory: string): void {
  if (words.startsWith('apt-get ')) return;
  if (/\bnpm ci\b/.test(words)) {
    cpSync(join(REPOSITORY, 'node_modules'), inImage(join(directory, 'node_modules')), {
      recursive: true,
      verbatimSymlinks: true,
    });
    return;
  }
  const here = words.replaceAll(/(?<= )\/var\//g, `${image}/var/`);
  execFileSync('/bin/sh', ['-ec', here], { cwd: inImage(directory), stdio: 'pipe' });
}

/** The image's scripts, with the image's paths where they are here. */
function script(path: string): string {
  const text = readFileSync(inImage(path), 'utf8')
    .replaceAll('/opt/lastmile', inImage('/opt/lastmile'))
    .replaceAll('/var/lib/lastmile', inImage('/var/lib/lastmile'))
    .replaceAll('/usr/local/bin/node', process.execPath)
    // A container has its ports to itself; this machine may have another broker on them.
    .replace('lastmile init ', 'lastmile init --workloads-port 0 --control-port 0 ');
  writeFileSync(inImage(path), text);
  return inImage(path);
}

describe('the container image', () => {
  test('has the build and what it needs, and no source', () => {
    expect(existsSync(inImage('/opt/lastmile/broker/main.js'))).toBe(true);
    expect(existsSync(inImage('/opt/lastmile/node_modules/pkcs11js/build/Release/pkcs11.node'))).toBe(true);
    for (const absent of ['broker/main.ts', 'node_modules/typescript', 'node_modules/vitest', '.git'])
      expect([absent, existsSync(inImage(join('/opt/lastmile', absent)))]).toEqual([absent, false]);
  });

  test('makes an instance, serves it, signs with it, and ends when it is told to', async () => {
    script('/usr/local/bin/lastmile');
    const entrypoint = script('/usr/local/bin/lastmile-entrypoint');
    const env = { PATH: `${inImage('/usr/local/bin')}:${process.env.PATH ?? ''}` };
    const child = spawn(entrypoint, ['serve'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(child, 'exit');
    try {
      const isServing = (async () => {
        for await (const line of createInterface({ input: child.stdout }))
          if (line.startsWith('{"serving":')) return true;
        return false;
      })();
      expect(await isServing).toBe(true);
      const instance = inImage('/var/lib/lastmile/instance');
      const lastmile = (...args: string[]): string =>
        execFileSync(inImage('/usr/local/bin/lastmile-entrypoint'), args, { env, encoding: 'utf8' });
      const signature = lastmile(
        ...['sign', 'payments/jwt', join(REPOSITORY, 'LICENSE'), '--as', 'payments', '--instance', instance],
        ...['--encoding', 'base64'],
      );
      expect(Buffer.from(signature, 'base64')).toHaveLength(64);
      const health = /HEALTHCHECK.*?CMD lastmile (.*?) >/s.exec(read('deploy/container/Containerfile'))?.[1];
      const words = health!.replace('/var/lib/lastmile/instance', instance).split(' ');
      expect(JSON.parse(lastmile(...words))).toMatchObject({ state: 'serving' });
    } finally {
      child.kill('SIGTERM');
    }
    expect(await ended).toEqual([0, null]);
  });
});
