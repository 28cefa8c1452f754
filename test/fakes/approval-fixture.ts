import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CompactSign } from 'jose';
import { JWS_TYPE, type VoteSignature } from '../../broker/approvals/act.ts';
import { ApprovalService, type ApprovalServiceOptions } from '../../broker/approvals/approval-service.ts';
import type { Notice } from '../../broker/approvals/approval-view.ts';
import type { Petition } from '../../broker/approvals/approvals.ts';
import type { ApprovalLog } from '../../broker/approvals/state-check.ts';
import { Failure } from '../../broker/keyuse/failure.ts';
import { ApprovalRows } from '../../broker/state/approval-rows.ts';
import { StateStore } from '../../broker/state/state-store.ts';
import type { ApprovalPolicy, Approver, ApproverKey, Quorum } from '../../policy/quorum.ts';
import { FakeLog } from './fake-log.ts';
import { rejectionOf } from './rejection.ts';

export const SETTLE = 'spiffe://example.org/ns/treasury/sa/settle';
export const START = Date.parse('2026-03-01T12:00:00.000Z');

export const QUORUM: Quorum = {
  approvals: 2,
  groups: ['treasury'],
  withinMs: 15 * 60_000,
  uses: 1,
  methods: ['sshsig', 'jws', 'webauthn'],
  blind: false,
  withoutPresence: false,
  covers: 'act',
  emergency: false,
};

/** Someone with a JWK and a SPIFFE ID. */
export class Person {
  readonly id: string;
  readonly spiffeId: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;

  constructor(id: string) {
    this.id = id;
    this.spiffeId = `spiffe://example.org/human/${id}`;
    ({ privateKey: this.privateKey, publicKey: this.publicKey } = generateKeyPairSync('ed25519'));
  }

  get key(): ApproverKey {
    return { method: 'jws', publicKey: JSON.stringify(this.publicKey.export({ format: 'jwk' })) };
  }

  get approver(): Approver {
    return { id: this.id, keys: [this.key], spiffeId: this.spiffeId, alsoRequestsAs: [] };
  }

  get voter(): { approver: string; spiffeId: string } {
    return { approver: this.id, spiffeId: this.spiffeId };
  }

  async sign(document: string, privateKey = this.privateKey): Promise<VoteSignature> {
    const signature = await new CompactSign(Buffer.from(document))
      .setProtectedHeader({ alg: 'Ed25519', typ: JWS_TYPE })
      .sign(privateKey);
    return { method: 'jws', signature };
  }
}

/** Approvals with a state on disk, a log in memory, and a clock that stands still. */
export class ApprovalFixture {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'lastmile-approvals-'));
  readonly people: readonly [Person, Person, Person] = [
    new Person('alice'),
    new Person('bob'),
    new Person('carol'),
  ];
  log = new FakeLog();
  now: number = START;
  doubtMs = 0;
  /** Ids of approvers, and SPIFFE IDs. */
  readonly frozen = new Set<string>();
  readonly tokenKeys: Uint8Array[] = [];
  readonly notices: Notice[] = [];
  approvers = new Map<string, Approver>(this.people.map((person) => [person.id, person.approver]));
  groups = new Map<string, ReadonlySet<string>>([['treasury', new Set(this.people.map(({ id }) => id))]]);
  /** What `authorityOf` says of a rule. */
  meanings = new Map<string, string>([['treasury-moves-funds', 'as it was']]);
  ownRequests: (approver: string, spiffeId: string) => boolean = (approver, spiffeId) =>
    this.approvers.get(approver)?.spiffeId === spiffeId;
  notify: ((notice: Notice) => Promise<void>) | undefined = (notice) => {
    this.notices.push(notice);
    return Promise.resolve();
  };
  #options: Partial<ApprovalServiceOptions>;
  #store!: StateStore;
  service!: ApprovalService;
  #policy = this.#makePolicy();

  private constructor(options: Partial<ApprovalServiceOptions>) {
    this.#options = options;
  }

  static async start(options: Partial<ApprovalServiceOptions> = {}): Promise<ApprovalFixture> {
    const fixture = new ApprovalFixture(options);
    await fixture.open();
    return fixture;
  }

  #makePolicy(): ApprovalPolicy & { readonly maxClockDoubtMs: number } {
    return {
      approvers: this.approvers,
      groupMembers: (group) => this.groups.get(group) ?? new Set(),
      authorityOf: (rule) => this.meanings.get(rule) ?? '',
      isOwnRequest: (approver, spiffeId) => this.ownRequests(approver, spiffeId),
      governance: undefined,
      maxClockDoubtMs: 5000,
    };
  }

  /** Another policy comes into force: what the fields say now. */
  reload(): void {
    this.#policy = this.#makePolicy();
  }

  get policy(): ApprovalPolicy {
    return this.#policy;
  }

  get stateFile(): string {
    return join(this.directory, 'state.db');
  }

  get logReader(): ApprovalLog {
    const { log } = this;
    return {
      get size() {
        return log.size;
      },
      async *read(fromLeaf) {
        for (let leafIndex = fromLeaf; leafIndex < log.size; leafIndex++)
          yield { leafIndex, entry: log.entries[leafIndex]! };
      },
    };
  }

  async open(): Promise<void> {
    this.#store = new StateStore(this.stateFile);
    this.service = new ApprovalService({
      store: new ApprovalRows(this.#store),
      audit: this.log,
      policy: () => this.#policy,
      clock: { now: () => this.now, doubtMs: () => this.doubtMs },
      isFrozen: ({ id, spiffeId = '' }) => this.frozen.has(id) || this.frozen.has(spiffeId),
      isTokenKey: (spki) => this.tokenKeys.some((key) => Buffer.compare(key, spki) === 0),
      notify: (notice) => this.notify!(notice),
      log: () => undefined,
      ...this.#options,
    });
    await this.service.start(this.logReader);
  }

  /** Asks for a use that nobody has approved yet, and says which approval is needed. */
  async ask(asked: Petition = petition()): Promise<string> {
    const { reason, performed, metadata } = await failureOf(this.service.take(asked));
    if (reason !== 'APPROVAL_REQUIRED' || performed !== 'no')
      throw new Error(`refused by ${reason}, performed: ${performed}`);
    return metadata['approval']!;
  }

  /** What approvers of it sign. */
  document(id: string): string {
    return this.service.get(id, { spiffeId: SETTLE })!.document;
  }

  /** By these people, each with a signature of their own. */
  async approve(id: string, ...who: readonly number[]): Promise<void> {
    for (const at of who) {
      const person = this.people[at]!;
      await this.service.approve(id, person.id, await person.sign(this.document(id)), person.voter);
    }
  }

  /** As a kill would: nothing is told to anybody. */
  crash(): void {
    this.#store.close();
  }

  async restart(): Promise<void> {
    this.service.close();
    this.#store.close();
    await this.open();
  }

  copyState(name: string): void {
    // What is in the write-ahead log belongs to it as well: a closed state is one file.
    this.service.close();
    this.#store.close();
    copyFileSync(this.stateFile, join(this.directory, name));
  }

  async putBack(name: string): Promise<void> {
    this.service.close();
    this.#store.close();
    for (const suffix of ['-wal', '-shm']) rmSync(`${this.stateFile}${suffix}`, { force: true });
    copyFileSync(join(this.directory, name), this.stateFile);
    await this.open();
  }

  get db(): StateStore {
    return this.#store;
  }

  /** A use is written to the log as key use does it. */
  async record(record: unknown, performed: 'yes' | 'no' = 'yes'): Promise<void> {
    await this.log.append({
      kind: 'key-use',
      subject: SETTLE,
      operation: 'sign',
      decision: 'allow',
      performed,
      inputs: { approval: record as never },
    });
  }

  close(): void {
    this.service.close();
    this.#store.close();
    rmSync(this.directory, { recursive: true });
  }
}

/** What it is refused by: a test that expects a refusal fails without one. */
export const failureOf = (promise: Promise<unknown>): Promise<Failure> => rejectionOf(promise, Failure);

export function petition(
  text = 'pay 100 to DE02',
  more: Partial<Petition> = {},
  quorum: Partial<Quorum> = {},
): Petition {
  return {
    requester: SETTLE,
    operation: 'sign',
    key: 'treasury/settlement',
    version: 0,
    algorithm: 'ES256',
    content: {
      kind: 'message',
      text,
      sha256: createHash('sha256').update(text).digest('base64url'),
      bytes: Buffer.byteLength(text),
    },
    allowance: { rule: 'treasury-moves-funds', quorum: { ...QUORUM, ...quorum } },
    catalogEntry: '{"key":"treasury/settlement"}',
    ...more,
  };
}

/** `ssh-keygen -Y sign`, with a key of its own. */
export class SshPerson {
  readonly directory: string;
  readonly publicKey: string;

  constructor(directory: string, name: string) {
    this.directory = directory;
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', name], { cwd: directory });
    this.#file = join(directory, name);
    this.publicKey = execFileSync('cat', [`${this.#file}.pub`], { encoding: 'utf8' }).trim();
  }

  readonly #file: string;

  sign(document: string, namespace = 'lastmile-approval@v1'): VoteSignature {
    const file = join(this.directory, 'document');
    writeFileSync(file, document);
    rmSync(`${file}.sig`, { force: true });
    execFileSync('ssh-keygen', ['-q', '-Y', 'sign', '-n', namespace, '-f', this.#file, file], {
      stdio: 'pipe',
    });
    return { method: 'sshsig', signature: execFileSync('cat', [`${file}.sig`], { encoding: 'utf8' }) };
  }
}
