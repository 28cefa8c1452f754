import { readFileSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { buildProgram } from '../../broker/cli/program.ts';
import { POLICY_YAML } from '../../broker/init/instance-files.ts';

const read = (path: string): string =>
  readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');

/** Lines of code blocks that run the command. */
function commandsIn(markdown: string): readonly string[] {
  const blocks = [...markdown.matchAll(/^```\w*\n([\s\S]*?)^```/gm)].map((match) => match[1] ?? '');
  return blocks.flatMap((block) => block.split('\n')).filter((line) => line.startsWith('lastmile '));
}

/** Words as a shell makes them of plain words and quoted ones. */
function words(line: string): readonly string[] {
  return [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    (match) => match[1] ?? match[2] ?? match[3] ?? '',
  );
}

/** Parses the line as `lastmile` does, and runs nothing. @throws CommanderError with what does not fit */
async function parse(line: string): Promise<string | undefined> {
  const none = (): Promise<never> => Promise.reject(new Error('a documented command was run'));
  const output = new PassThrough().resume();
  const program = buildProgram({
    stdout: output,
    stderr: output,
    stdin: new PassThrough(),
    env: {},
    cwd: '/',
    profileIssues: async () => [],
    serve: none,
    init: none,
    demo: none,
    doctor: none,
    acceptLog: none,
  });
  let parsed: string | undefined;
  const record = (command: Command, path: string): void => {
    if (command.commands.length === 0) {
      command.action(() => {
        parsed = path;
      });
    }
    for (const inner of command.commands) record(inner, `${path} ${inner.name()}`.trim());
  };
  record(program, '');
  await program.parseAsync([...words(line)].slice(1), { from: 'user' });
  return parsed;
}

describe('a command that is documented is one that exists, with those arguments', () => {
  const readme = commandsIn(read('README.md'));
  const guide = commandsIn(read('deploy/policy-guide.md'));
  const inPolicy = [...POLICY_YAML.matchAll(/^#.* {2,}(lastmile .*)$/gm)].map((match) => match[1] ?? '');

  test('there are such commands', () => {
    expect(readme.length).toBeGreaterThan(10);
    expect(inPolicy.length).toBe(2);
    expect(guide.length).toBeGreaterThan(10);
  });

  test.each([...readme, ...inPolicy, ...guide])('%s', async (line) => {
    expect(await parse(line)).toBeTypeOf('string');
  });

  test.each([
    'lastmile sgin payments/jwt',
    'lastmile sign payments/jwt --no-such-option',
    'lastmile keys create a/b',
  ])('and is caught otherwise: %s', async (line) => {
    await expect(parse(line)).rejects.toThrow();
  });
});
