import type { Approver } from '../../policy/quorum.ts';
import { Failure } from '../keyuse/failure.ts';
import type {
  ApprovalDetail,
  ApprovalList,
  ApprovalSummary,
  AttachedContent,
  PageAnswer,
  PageCall,
  PasskeyAssertion,
  SignedIn,
  SignInChallenge,
  VoteTaken,
} from '../proto/page-calls.ts';
import type { VoteSignature } from './act.ts';
import { type SignIn, SignInRefused, type SignIns } from './webauthn-sign-in.ts';

/** Who has signed in. */
export interface PagePerson {
  readonly approver: string;
  readonly spiffeId: string | undefined;
  readonly peer: string;
}

/** What the pages show and take for one person: the approvals as they are for that person, no more. */
export interface PageDesk {
  /** Open ones that this person may vote on. */
  list(person: PagePerson): readonly ApprovalSummary[];
  /** Undefined: there is none of that id for this person. */
  get(person: PagePerson, id: string): ApprovalDetail | undefined;
  attachment(person: PagePerson, id: string): Uint8Array | undefined;
  /**
   * The signature is verified over the act that the broker holds. Resolves to the approval's state once the vote is
   * on record.
   *
   * @throws Failure
   */
  approve(person: PagePerson, id: string, signature: VoteSignature): Promise<string>;
  /** Final. @throws Failure */
  reject(person: PagePerson, id: string, reason: string): Promise<string>;
}

export interface ApproverPagesOptions {
  readonly signIns: SignIns;
  readonly desk: PageDesk;
  /** Milliseconds of the Unix epoch, for people. */
  readonly now: () => number;
  readonly log: (
    level: 'info' | 'warn' | 'error',
    message: string,
    fields?: Record<string, string | number>,
  ) => void;
}

const MAX_REASON_CHARACTERS = 500;
const SIGNED_OUT: PageAnswer = {
  ok: false,
  reason: 'signed-out',
  message: 'Sign in with your passkey.',
  signIn: null,
};

/** A body that no page of ours sends. */
class Malformed extends Error {
  override readonly name = 'Malformed';
}

/**
 * The broker's side of the approvers' pages. A call says who it is by a sign-in; everything else is decided here and
 * by the approvals themselves. Before the sign-in nothing is told: no names, no approvals, not who is enrolled.
 */
export class ApproverPages {
  readonly #options: ApproverPagesOptions;

  constructor(options: ApproverPagesOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async call(call: PageCall): Promise<PageAnswer> {
    try {
      return await this.#answer(call);
    } catch (error) {
      if (error instanceof SignInRefused) return { ok: false, reason: error.reason, message: error.message };
      if (error instanceof Malformed) return { ok: false, reason: 'request-invalid', message: error.message };
      if (error instanceof Failure && error.reason !== 'INTERNAL') return refusalOf(error);
      this.#options.log('error', 'internal error', {
        method: `page ${call.name}`,
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
      return { ok: false, reason: 'unavailable', message: 'internal error' };
    }
  }

  /** The gateway process has ended. */
  gatewayGone(): void {
    this.#options.signIns.endAll();
  }

  async #answer(call: PageCall): Promise<PageAnswer> {
    const { signIns } = this.#options;
    const body = readBody(call.body);
    switch (call.name) {
      case 'sign-in-challenge':
        return ok<SignInChallenge>({
          challenge: Buffer.from(signIns.challenge(call.peer)).toString('base64url'),
        });
      case 'sign-in':
        return this.#signIn(call, assertionIn(body));
      case 'sign-out':
        signIns.end(call.signIn);
        return { ok: true, body: {}, signIn: null };
      case 'approvals':
      case 'approval':
      case 'attachment':
      case 'approve':
      case 'reject': {
        const signIn = signIns.find(call.signIn, call.peer);
        return signIn === undefined ? SIGNED_OUT : this.#answerSignedIn(call.name, signIn, call.peer, body);
      }
      default:
        return call.name satisfies never;
    }
  }

  async #signIn(call: PageCall, assertion: PasskeyAssertion): Promise<PageAnswer> {
    const { signIns, log } = this.#options;
    // Another one in the same browser: the old secret opens nothing any more.
    signIns.end(call.signIn);
    try {
      const { secret, signIn } = await signIns.signIn(assertion, call.peer);
      log('info', 'an approver has signed in to the pages', {
        approver: signIn.approver.id,
        peer: call.peer,
      });
      return { ok: true, body: this.#signedIn(signIn), signIn: secret };
    } catch (error) {
      if (error instanceof SignInRefused && error.reason === 'refused')
        log('warn', 'a sign-in to the pages is refused', { peer: call.peer });
      throw error;
    }
  }

  async #answerSignedIn(
    name: 'approvals' | 'approval' | 'attachment' | 'approve' | 'reject',
    signIn: SignIn,
    peer: string,
    body: Readonly<Record<string, unknown>>,
  ): Promise<PageAnswer> {
    const { desk, log } = this.#options;
    const { id: approver, spiffeId } = signIn.approver;
    const person: PagePerson = { approver, spiffeId, peer };
    if (name === 'approvals') return ok<ApprovalList>({ ...this.#signedIn(signIn), open: desk.list(person) });
    const id = textIn(body, 'id', 128);
    switch (name) {
      case 'approval': {
        const detail = desk.get(person, id);
        return detail === undefined ? notFound() : ok<ApprovalDetail>(detail);
      }
      case 'attachment': {
        const content = desk.attachment(person, id);
        if (content === undefined) return notFound();
        return ok<AttachedContent>({ content: Buffer.from(content).toString('base64') });
      }
      case 'approve': {
        const assertion = assertionIn(body);
        // With another one's passkey, it is another one's approval: nobody votes for somebody else by mistake.
        if (!isPasskeyOf(signIn.approver, assertion.credentialId))
          throw new Failure('POLICY_DENIED', 'this passkey is not one of yours');
        const state = await desk.approve(person, id, { method: 'webauthn', ...assertion });
        log('info', 'approved on the pages', { approver, approval: id });
        return ok<VoteTaken>({ state });
      }
      case 'reject': {
        const reason = textIn(body, 'reason', MAX_REASON_CHARACTERS).trim();
        if (reason === '') throw new Malformed('say why: the requester and the log are told');
        const state = await desk.reject(person, id, reason);
        log('info', 'rejected on the pages', { approver, approval: id });
        return ok<VoteTaken>({ state });
      }
      default:
        return name satisfies never;
    }
  }

  #signedIn({ approver, leftMs }: SignIn): SignedIn {
    return {
      approver: approver.id,
      credentialIds: approver.keys.flatMap((key) => (key.method === 'webauthn' ? [key.credentialId] : [])),
      signedInUntil: new Date(this.#options.now() + leftMs).toISOString(),
    };
  }
}

function ok<T extends object>(body: T): PageAnswer {
  return { ok: true, body };
}

function notFound(): PageAnswer {
  return { ok: false, reason: 'not-found', message: 'there is no such approval for you' };
}

function refusalOf({ reason, message }: Failure): PageAnswer {
  switch (reason) {
    case 'BUSY':
    case 'RATE_LIMITED':
      return { ok: false, reason: 'too-many-requests', message };
    case 'AUDIT_UNAVAILABLE':
    case 'AUDIT_INCONSISTENT':
    case 'DEADLINE_EXCEEDED':
      return { ok: false, reason: 'unavailable', message };
    case 'REQUEST_INVALID':
      return { ok: false, reason: 'request-invalid', message };
    default:
      return { ok: false, reason: 'refused', message };
  }
}

function isPasskeyOf(approver: Approver, credentialId: string): boolean {
  return approver.keys.some((key) => key.method === 'webauthn' && key.credentialId === credentialId);
}

function readBody(text: string): Readonly<Record<string, unknown>> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new Malformed('the request is not JSON', { cause });
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new Malformed('the request is not a JSON object');
  return parsed as Readonly<Record<string, unknown>>;
}

function textIn(body: Readonly<Record<string, unknown>>, name: string, maxCharacters: number): string {
  const value = Object.hasOwn(body, name) ? body[name] : undefined;
  if (typeof value !== 'string' || value.length > maxCharacters || !value.isWellFormed())
    throw new Malformed(`\`${name}\` must be text of at most ${maxCharacters} characters`);
  return value;
}

function assertionIn(body: Readonly<Record<string, unknown>>): PasskeyAssertion {
  const bytes = (name: string, maxBytes: number): string => {
    const value = textIn(body, name, Math.ceil((maxBytes * 4) / 3));
    if (!/^[A-Za-z0-9_-]+$/.test(value)) throw new Malformed(`\`${name}\` must be base64url`);
    return value;
  };
  return {
    credentialId: bytes('credentialId', 1023),
    authenticatorData: bytes('authenticatorData', 1024),
    clientDataJson: bytes('clientDataJson', 4096),
    signature: bytes('signature', 1024),
  };
}
