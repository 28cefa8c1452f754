import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KeyUseFixture, policyOf } from '../../test/fakes/key-use-fixture.ts';
import { ALICE, callAdmin, operatorServicesOf } from '../../test/fakes/operator-services.ts';
import type { ApprovalUse, Petition } from '../approvals/approvals.ts';
import { canonicalize } from '../audit/canonical.ts';
import { Failure } from '../keyuse/failure.ts';
import type { OperatorServices } from './operator-service.ts';

const POLICY = `
version: 1
approvers:
  - id: anna
    keys: [{ method: jws, publicKey: '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}' }]
groups: { security: [anna] }
lifecycle:
  - id: production-keys
    methods: [Admin.CreateKey, Admin.ImportKey]
    keys: ["app/**"]
    quorum: { approvals: 1, of: security, within: 1d }
roles:
  - id: operators
    members: ["${ALICE}"]
    allow: { methods: [Admin.*] }
`;

/** Agrees to exactly what was asked for. */
class People {
  readonly asked: Petition[] = [];
  readonly #approved = new Map<string, number>();

  async take(petition: Petition): Promise<ApprovalUse> {
    const act = canonicalize(JSON.parse(JSON.stringify(petition)));
    const uses = this.#approved.get(act) ?? 0;
    if (uses === 0) {
      this.asked.push(petition);
      throw new Failure('APPROVAL_REQUIRED', 'missing', { metadata: { approval: `a-${this.asked.length}` } });
    }
    this.#approved.set(act, uses - 1);
    return {
      id: 'a-1',
      votes: [4],
      isEmergency: false,
      record: { id: 'a-1', votes: [4] },
      giveBack: () => this.#approved.set(act, uses),
    };
  }

  approve(petition: Petition | undefined): void {
    this.#approved.set(canonicalize(JSON.parse(JSON.stringify(petition))), 1);
  }

  get left(): number {
    return [...this.#approved.values()].reduce((sum, uses) => sum + uses, 0);
  }
}

let fixture: KeyUseFixture;
let people: People;
let services: OperatorServices;

beforeEach(() => {
  fixture = new KeyUseFixture();
  fixture.policy = policyOf(POLICY);
  people = new People();
  services = operatorServicesOf(fixture, { approvals: () => people });
});
afterEach(() => fixture.close());

const admin = (method: string, request: object) => callAdmin(services, method, request);

const KEY = { key: 'app/new', algorithms: ['ES256'] };
const required = { reason: 'APPROVAL_REQUIRED', metadata: { approval: 'a-1' } };

describe('a key that people have to agree to', () => {
  it('is made once they have, and the entry names the approval', async () => {
    await expect(admin('CreateKey', KEY)).rejects.toMatchObject(required);
    expect(fixture.tokens.flatMap((token) => token.objects)).toEqual([]);
    expect(fixture.log.of('method').at(-1)).toMatchObject({
      reason: 'APPROVAL_REQUIRED',
      performed: 'no',
      detail: { approval: 'a-1' },
    });
    const [petition] = people.asked;
    expect(petition).toMatchObject({
      requester: ALICE,
      operation: 'Admin.CreateKey',
      key: 'app/new',
      content: { kind: 'shown', type: 'key' },
      allowance: { rule: 'production-keys', quorum: { approvals: 1, groups: ['security'], uses: 1 } },
    });
    expect(JSON.parse((petition!.content as { text: string }).text)).toMatchObject({
      key: 'app/new',
      algorithms: ['ES256'],
      rawSigning: false,
    });
    people.approve(petition);
    await admin('CreateKey', KEY);
    expect(fixture.catalog.versions('app/new')).toHaveLength(1);
    expect(fixture.log.of('method').at(-1)).toMatchObject({
      performed: 'yes',
      detail: { approval: { id: 'a-1', votes: [4] } },
    });
    expect(people.left).toBe(0);
  });

  it.each<[string, object]>([
    ['name', { key: 'app/other' }],
    ['purpose', { purpose: 'encrypt' }],
    ['algorithm', { algorithms: ['ES384'] }],
    ['token', { tokens: ['one'] }],
    ['size', { modulusBits: 4096 }],
    ['verification', { verify: 'never' }],
    ['leave to sign bare bytes', { rawSigning: true }],
  ])('is not made with another %s than they agreed to', async (_, change) => {
    await expect(admin('CreateKey', KEY)).rejects.toMatchObject(required);
    people.approve(people.asked[0]);
    await expect(admin('CreateKey', { ...KEY, ...change })).rejects.toMatchObject({
      reason: 'APPROVAL_REQUIRED',
    });
    expect(fixture.catalog.all()).toEqual([]);
    expect(people.left).toBe(1);
  });

  it('leaves the approval as it was when it is not made', async () => {
    await expect(admin('CreateKey', KEY)).rejects.toMatchObject(required);
    people.approve(people.asked[0]);
    services = {
      ...services,
      administration: {
        create: () => Promise.reject(new Failure('TOKEN_UNREACHABLE', 'away')),
      } as unknown as OperatorServices['administration'],
    };
    await expect(admin('CreateKey', KEY)).rejects.toMatchObject({ reason: 'TOKEN_UNREACHABLE' });
    expect(people.left).toBe(1);
  });

  it('has used the approval up when nobody knows whether it is made', async () => {
    await expect(admin('CreateKey', KEY)).rejects.toMatchObject(required);
    people.approve(people.asked[0]);
    services = {
      ...services,
      administration: {
        create: () => Promise.reject(new Failure('TOKEN_UNREACHABLE', 'away', { performed: 'unknown' })),
      } as unknown as OperatorServices['administration'],
    };
    await expect(admin('CreateKey', KEY)).rejects.toMatchObject({ reason: 'TOKEN_UNREACHABLE' });
    expect(people.left).toBe(0);
  });

  it.each<[string, object, object]>([
    ['by its id', { ckaId: '0a' }, { ckaId: '0b' }],
    ['by its label', { label: 'a' }, { label: 'b' }],
    [
      'wrapped',
      { wrapped: { blob: Buffer.from('a'), unwrappingKey: 'k', mechanism: 'aes-kwp' } },
      { wrapped: { blob: Buffer.from('b'), unwrappingKey: 'k', mechanism: 'aes-kwp' } },
    ],
  ])('is not imported, %s, before they have, nor another one after', async (_, source, other) => {
    const request = { ...KEY, token: 'one' };
    await expect(admin('ImportKey', { ...request, ...source })).rejects.toMatchObject(required);
    people.approve(people.asked[0]);
    await expect(admin('ImportKey', { ...request, ...other })).rejects.toMatchObject({
      reason: 'APPROVAL_REQUIRED',
    });
    expect(people.asked).toHaveLength(2);
    // What they agreed to gets past them, and is judged by the token.
    await expect(admin('ImportKey', { ...request, ...source })).rejects.not.toMatchObject({
      reason: 'APPROVAL_REQUIRED',
    });
  });

  it('is not made while nobody can be asked', async () => {
    services = { ...services, approvals: undefined };
    await expect(admin('CreateKey', KEY)).rejects.toMatchObject({ reason: 'BUSY' });
    expect(fixture.catalog.all()).toEqual([]);
  });

  it('is another than those that nobody has to agree to', async () => {
    await admin('CreateKey', { ...KEY, key: 'other/new' });
    expect(people.asked).toEqual([]);
    expect(fixture.catalog.versions('other/new')).toHaveLength(1);
  });
});
