import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { HEAP_FLAGS, keepHeapModest } from './modest-heap.ts';

type Replacement = { file: string; args: readonly string[]; env: NodeJS.ProcessEnv };

/** What a program with these arguments is replaced by, and what is left of its environment. */
function replaced(
  execArgv: readonly string[],
  env: NodeJS.ProcessEnv = {},
): { readonly by: Replacement | undefined; readonly env: NodeJS.ProcessEnv } {
  let by: Replacement | undefined;
  keepHeapModest({
    execPath: '/bin/node',
    execArgv,
    argv: ['/bin/node', 'main.js', 'serve'],
    env,
    execve: (file, args, environment) => {
      by = { file, args, env: environment };
    },
  });
  return { by, env };
}

describe('a program that serves', () => {
  it('starts itself again with the flags that are missing, and with all that it was started with', () => {
    const { by } = replaced(['--disable-sigusr1', HEAP_FLAGS[0]!], { PATH: '/bin' });
    expect(by?.file).toBe('/bin/node');
    expect(by?.args).toEqual([
      '/bin/node',
      '--disable-sigusr1',
      HEAP_FLAGS[0],
      ...HEAP_FLAGS.slice(1),
      'main.js',
      'serve',
    ]);
    expect(by?.env).toMatchObject({ PATH: '/bin' });
  });

  it('does so once, whatever became of the flags, and leaves no trace in its environment', () => {
    const { by } = replaced([]);
    const again = replaced([], { ...by!.env });
    expect(again.by).toBeUndefined();
    expect(again.env).toEqual({});
  });

  it('keeps what its operator says of the same, in NODE_OPTIONS as well', () => {
    const { by } = replaced(['--max_semi_space_size=64'], { NODE_OPTIONS: '--heap-growing-percent=100' });
    expect(by?.args).toEqual([
      '/bin/node',
      '--max_semi_space_size=64',
      '--no-parallel-scavenge',
      'main.js',
      'serve',
    ]);
  });

  it('goes on as it is when it cannot be replaced, and says why', () => {
    const warnings: string[] = [];
    const env: NodeJS.ProcessEnv = {};
    keepHeapModest({
      execPath: '/bin/node',
      execArgv: [],
      argv: [],
      env,
      execve: () => {
        throw new Error('execve failed: ENOENT');
      },
      emitWarning: (warning) => warnings.push(warning),
    });
    expect(warnings).toEqual(['the heap is not kept modest: execve failed: ENOENT']);
    expect(env).toEqual({});
  });

  it('goes on as it is with the flags, and where a program cannot be replaced', () => {
    expect(replaced(HEAP_FLAGS).by).toBeUndefined();
    const program = { execPath: '/bin/node', execArgv: [], argv: [], env: {} };
    expect(() => keepHeapModest(program)).not.toThrow();
  });
});

it('keeps its process, its streams and its exit code over it', () => {
  const module = fileURLToPath(new URL('modest-heap.ts', import.meta.url));
  const program = `
    import { readSync } from 'node:fs';
    const { keepHeapModest } = await import(${JSON.stringify(module)});
    const before = process.env.PID_BEFORE;
    if (before === undefined) process.env.PID_BEFORE = String(process.pid);
    keepHeapModest(process);
    const typed = Buffer.alloc(5);
    readSync(0, typed);
    console.log(JSON.stringify([process.pid === Number(before), process.execArgv, String(typed)]));
    process.exitCode = 3;
  `;
  const run = () =>
    execFileSync(process.execPath, ['--input-type=module', '-e', program], {
      input: 'hello',
      env: { PATH: process.env['PATH'] },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
  try {
    run();
    expect.unreachable();
  } catch (error) {
    const { status, stdout } = error as { status: number; stdout: Buffer };
    expect(status).toBe(3);
    const [isSame, execArgv, typed] = JSON.parse(String(stdout)) as [boolean, string[], string];
    expect(isSame).toBe(true);
    expect(execArgv).toEqual(expect.arrayContaining([...HEAP_FLAGS]));
    expect(typed).toBe('hello');
  }
});
