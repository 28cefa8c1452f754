import { afterAll, beforeAll, expect, it } from 'vitest';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import { entries, operator, refusal } from '../../fakes/instance-clients.ts';

let instance: RunningInstance;
let admin: OperatorClient;

beforeAll(async () => {
  instance = await startInstance();
  admin = await operator(instance);
});

afterAll(async () => {
  admin?.close();
  await instance?.stop();
});

it.each([
  ['lastmile/log#1', 'Ed25519'],
  ['billing/invoices#1', 'ES256'],
  ['payments/data#1', 'A256GCM'],
])('an object that is a key is not bound under a second name: %s', async (label, algorithm) => {
  const { keys } = await admin.admin('ListKeyVersions', {});
  const owner = keys.find(({ key, version }) => `${key}#${version}` === label)!;
  const request = {
    key: 'payments/second-name',
    algorithms: [algorithm],
    token: owner.tokens[0]!,
    label,
    source: 'label' as const,
  };
  expect(await refusal(admin.admin('ImportKey', request))).toMatchObject({
    reason: 'REQUEST_INVALID',
    message: expect.stringContaining(`that object is ${label} already`),
  });
  expect((await admin.admin('ListKeyVersions', {})).keys).toEqual(keys);
  const [ended, begun] = await entries(admin, { operation: 'Admin.ImportKey', limit: 2 });
  expect([begun!.performed, begun!.detail?.stage]).toEqual(['unknown', 'begun']);
  expect([ended!.reason, ended!.detail?.begun]).toEqual(['REQUEST_INVALID', begun!.leaf]);
});

it('what became of the tokens since the start is on record', async () => {
  const told = await entries(admin, { kind: 'token', limit: 50 });
  for (const name of ['a', 'b']) {
    const operations = told.filter(({ detail }) => detail?.name === name).map(({ operation }) => operation);
    expect(operations).toEqual(expect.arrayContaining(['login', 'login-accepted', 'state']));
  }
});
