import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RunningInstance, runLastmile, startInstance } from '../../fakes/instance.ts';
import { workload } from '../../fakes/instance-clients.ts';

/** deploy/policy-guide.md, followed from top to bottom: its own files and its own commands. */

const guide = readFileSync(new URL('../../../deploy/policy-guide.md', import.meta.url), 'utf8');
const [policy = '', cases = ''] = [...guide.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text]) => text);
const commands = [...guide.matchAll(/^lastmile .*$/gm)].map(([line]) => line);

let instance: RunningInstance;

beforeAll(async () => {
  instance = await startInstance();
  const file = (name: string): string => join(instance.directory, name);
  await writeFile(file('next.yaml'), policy);
  await writeFile(file('cases.yaml'), cases);
  await writeFile(file('claims.json'), '{"aud": "https://bank.example", "lifetime": 900, "seq": 1}');
  const client = await workload(instance, 'payments');
  await client.sign({ key: 'payments/jwt', algorithm: 'ES256', message: Buffer.from('seen') });
  client.close();
});
afterAll(async () => {
  await instance?.stop();
});

const OFFLINE = /^lastmile policy (test|diff)/;

async function run(line: string): Promise<string> {
  const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
  const args = words
    .slice(1)
    .map((word) => word.replace(/^\.lastmile\//, ''))
    .map((word) => (/\.(yaml|json)$/.test(word) ? join(instance.directory, word) : word));
  return runLastmile(OFFLINE.test(line) ? args : [...args, '--instance', instance.directory]);
}

it('works as it is written', async () => {
  const said: Record<string, string> = {};
  for (const command of commands) {
    if (command.includes('sha256:HEX')) continue;
    said[command.split(' ').slice(1, 3).join(' ')] = await run(command);
  }
  expect(said).toMatchObject({
    'policy check': expect.stringContaining('right: 2 allow rules, 1 deny rules'),
    'policy test': expect.stringContaining('2'),
    'policy simulate': expect.any(String),
    'policy explain': expect.stringContaining('deny'),
    'clock accept': expect.stringContaining('log entry'),
  });
  expect(await readFile(join(instance.directory, 'suggested.yaml'), 'utf8')).toContain('payments/jwt');
  const explain = commands.find((line) => line.includes('policy explain')) ?? '';
  expect(await run(`${explain} --policy next.yaml`)).toContain('allow, by the rule payments-mints-tokens');
  const { activations } = JSON.parse(await run('lastmile policy history --json')) as {
    activations: { policyHash: string }[];
  };
  const back = commands.find((line) => line.includes('sha256:HEX')) ?? '';
  expect(await run(back.replace('sha256:HEX', activations[0]?.policyHash ?? ''))).toContain('policy');
});
