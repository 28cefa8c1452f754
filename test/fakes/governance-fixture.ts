import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApprovalUse, AskedApprovals, Petition } from '../../broker/approvals/approvals.ts';
import { canonicalize } from '../../broker/audit/canonical.ts';
import { Failure } from '../../broker/keyuse/failure.ts';
import { policyHash } from '../../broker/main/policy-history.ts';
import { PolicyHolder } from '../../broker/main/policy-holder.ts';
import { PolicyRows } from '../../broker/state/policy-rows.ts';
import { StateStore } from '../../broker/state/state-store.ts';
import { FakePolicyLog } from './fake-policy-log.ts';

export const ALICE = 'spiffe://example.org/human/alice';
export const BOB = 'spiffe://example.org/human/bob';
const KEYS = ['11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo', '8cX41WaGXcaVRbp4OU-ue2sWEOvCxRPfvsVB1ZDwVlg'];

const GOVERNANCE = 'governance: { approvals: 2, of: security, within: 1d }\n';
/** One rule that allows these operations; two people have to agree to another policy, unless it says otherwise. */
export function policy(operations: string, governance: string = GOVERNANCE): string {
  return `version: 1
approvers:
${['anna', 'ben']
  .map(
    (id, i) => `  - id: ${id}
    keys: [{ method: jws, publicKey: '{"kty":"OKP","crv":"Ed25519","x":"${KEYS[i]}"}' }]
    spiffeId: spiffe://example.org/human/${id}
`,
  )
  .join('')}groups: { security: [anna, ben] }
${governance}rules:
  - id: signs
    workloads: [spiffe://example.org/w]
    keys: [k]
    operations: [${operations}]
`;
}
export const ONE: string = policy('sign');
export const TWO: string = policy('sign, verify');
export const UNGOVERNED: string = policy('sign', '');
export const hashOf = (text: string): string => policyHash(Buffer.from(text));

/** People who agree to what they are shown, and to nothing else: an approval is found by the whole petition. */
class People implements AskedApprovals {
  readonly asked: Petition[] = [];
  /** Calls of `take`. */
  taken = 0;
  readonly #ids: string[] = [];
  readonly #approved = new Map<string, number>();

  async ask(petition: Petition) {
    const act = canonicalize(JSON.parse(JSON.stringify(petition)));
    if (!this.#ids.includes(act)) {
      this.#ids.push(act);
      this.asked.push(petition);
    }
    const id = `a-${this.#ids.indexOf(act) + 1}`;
    return { id, isApproved: this.left(id) > 0 };
  }

  async take(petition: Petition): Promise<ApprovalUse> {
    this.taken++;
    const { id } = await this.ask(petition);
    const uses = this.#approved.get(id) ?? 0;
    if (uses === 0) {
      throw new Failure('APPROVAL_REQUIRED', 'approvals are missing', { metadata: { approval: id } });
    }
    this.#approved.set(id, uses - 1);
    return {
      id,
      votes: [7, 8],
      isEmergency: false,
      record: { id, votes: [7, 8] },
      giveBack: () => this.#approved.set(id, (this.#approved.get(id) ?? 0) + 1),
    };
  }

  approve(id: string): void {
    this.#approved.set(id, 1);
  }

  left(id: string): number {
    return this.#approved.get(id) ?? 0;
  }
}

/** A policy holder over a file, with the log, the state and the people around it. It begins with `ONE` in the file. */
export class GovernanceFixture {
  readonly directory: string;
  readonly log = new FakePolicyLog();
  readonly people = new People();
  rows = new PolicyRows(new StateStore(':memory:'));
  #holder: PolicyHolder | undefined;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async make(): Promise<GovernanceFixture> {
    const fixture = new GovernanceFixture(await mkdtemp(join(tmpdir(), 'policy-governance-')));
    await writeFile(fixture.file, ONE);
    return fixture;
  }

  get file(): string {
    return join(this.directory, 'policy.yaml');
  }

  /** As a start of the broker does it; the one before has ended. */
  async open(approvals: () => People | undefined = () => this.people): Promise<PolicyHolder> {
    this.#holder?.close();
    this.#holder = await PolicyHolder.open({
      file: this.file,
      history: join(this.directory, 'policies'),
      administrators: [ALICE, BOB],
      trustDomain: 'example.org',
      audit: this.log,
      rows: this.rows,
      approvals,
      log: () => undefined,
    });
    return this.#holder;
  }

  async close(): Promise<void> {
    this.#holder?.close();
    await rm(this.directory, { recursive: true });
  }
}

export const propose = (
  held: PolicyHolder,
  text: string,
  by: string = ALICE,
): ReturnType<PolicyHolder['propose']> => held.propose(Buffer.from(text), by);
