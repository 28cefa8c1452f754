import type { MethodDecision } from '../../policy/decision.ts';
import type { VoteSignature } from '../approvals/act.ts';
import type { ApprovalService, Voter } from '../approvals/approval-service.ts';
import type { ApprovalView } from '../approvals/approval-view.ts';
import type { EntryDraft } from '../audit/entry.ts';
import type { Call, Caller } from '../keyuse/call.ts';
import { Failure } from '../keyuse/failure.ts';
import type { AcceptStateRequest__Output } from '../proto/gen/lastmile/v1/AcceptStateRequest.ts';
import type { ApproveRequest__Output } from '../proto/gen/lastmile/v1/ApproveRequest.ts';
import type { GetApprovalRequest__Output } from '../proto/gen/lastmile/v1/GetApprovalRequest.ts';
import type { GetAttachmentRequest__Output } from '../proto/gen/lastmile/v1/GetAttachmentRequest.ts';
import type { ListApprovalsRequest__Output } from '../proto/gen/lastmile/v1/ListApprovalsRequest.ts';
import type { RejectRequest__Output } from '../proto/gen/lastmile/v1/RejectRequest.ts';
import type { WatchRequest__Output } from '../proto/gen/lastmile/v1/WatchRequest.ts';
import type { WithdrawRequest__Output } from '../proto/gen/lastmile/v1/WithdrawRequest.ts';
import { APPROVALS_MESSAGES, type ApprovalsMethod } from '../proto/methods.ts';
import type { Handler } from './key-use-service.ts';
import { message, reply } from './messages.ts';

export interface ApprovalsServices {
  readonly approvals: ApprovalService;
  /** Frozen, expired: refused and on record. @throws Failure */
  readonly identify: (caller: Caller, call: Call, method: string) => Promise<void>;
  readonly decideMethod: (question: { spiffeId: string; method: string }) => MethodDecision;
  readonly audit: {
    readonly origin: string;
    appendRefusal(draft: EntryDraft): Promise<unknown>;
  };
}

const NO_SUCH = 'there is no such approval that you may see';
const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
/** Before the caller's deadline, so that the answer arrives within it. */
const ANSWER_MS = 250;

/** Approvals as RPCs: who calls, as what; everything else is the service's to say. */
export function approvalsHandlers(services: ApprovalsServices): ReadonlyMap<string, Handler> {
  const { approvals } = services;
  const handlers = new Map<string, Handler>();

  function serve<In>(
    name: ApprovalsMethod,
    run: (request: In, caller: Caller, call: Call) => Promise<object> | object,
  ): void {
    const request = message<In>(`${APPROVALS_MESSAGES[name]}Request`);
    const response = reply(`${APPROVALS_MESSAGES[name]}Response`);
    handlers.set(`/lastmile.v1.Approvals/${name}`, async (caller, call, payload) => {
      await services.identify(caller, call, `Approvals.${name}`);
      return response(await run(request.decode(payload), caller, call));
    });
  }

  /** The caller as an approver. Whoever is none learns nothing else. @throws Failure POLICY_DENIED */
  async function voter(caller: Caller, name: ApprovalsMethod): Promise<Voter> {
    const approver = approvals.approverOf(caller.identity.spiffeId.id);
    if (approver === undefined) throw await denied(caller, name);
    return { approver, ...actor(caller) };
  }

  async function denied(caller: Caller, name: ApprovalsMethod): Promise<Failure> {
    const { spiffeId, ...rest } = actor(caller);
    await services.audit.appendRefusal({
      kind: 'method',
      subject: spiffeId,
      ...rest,
      operation: `Approvals.${name}`,
      decision: 'deny',
      reason: 'POLICY_DENIED',
      performed: 'no',
    });
    return new Failure('POLICY_DENIED', 'the policy does not allow this');
  }

  serve<ListApprovalsRequest__Output>('List', async ({ all, limit }, caller) => {
    const { approver } = await voter(caller, 'List');
    const { cursor } = approvals;
    const views = approvals.list(approver, {
      all,
      limit: limit === 0 ? DEFAULT_LIMIT : Math.min(limit, MAX_LIMIT),
    });
    return { approvals: views.map(wireApproval), cursor };
  });

  serve<GetApprovalRequest__Output>('Get', async ({ id }, caller) => {
    const { spiffeId } = actor(caller);
    const approver = approvals.approverOf(spiffeId);
    const view = approvals.get(id, { approver, spiffeId });
    if (view !== undefined) return { approval: wireApproval(view) };
    if (approver === undefined) throw await denied(caller, 'Get');
    throw new Failure('REQUEST_INVALID', NO_SUCH);
  });

  serve<GetAttachmentRequest__Output>('GetAttachment', async ({ id }, caller) => {
    const { approver } = await voter(caller, 'GetAttachment');
    const content = approvals.attachment(id, approver);
    if (content === undefined) throw new Failure('REQUEST_INVALID', 'nothing is attached that you may see');
    return { content };
  });

  serve<ApproveRequest__Output>('Approve', async (request, caller) => {
    const by = await voter(caller, 'Approve');
    const person = request.approver === '' ? by.approver : request.approver;
    return { approval: wireApproval(await approvals.approve(request.id, person, signatureOf(request), by)) };
  });

  serve<RejectRequest__Output>('Reject', async ({ id, reason }, caller) => {
    const by = await voter(caller, 'Reject');
    return { approval: wireApproval(await approvals.reject(id, reason, by)) };
  });

  serve<WithdrawRequest__Output>('Withdraw', async ({ id }, caller) => {
    const by = actor(caller);
    const isAsker = approvals.get(id, { spiffeId: by.spiffeId }) !== undefined;
    if (!isAsker) throw await denied(caller, 'Withdraw');
    return { approval: wireApproval(await approvals.withdraw(id, by)) };
  });

  serve<WatchRequest__Output>('Watch', async ({ cursor }, caller, call) => {
    const { approver, spiffeId } = await voter(caller, 'Watch');
    const giveUp = new AbortController();
    const stop = (): void => giveUp.abort();
    const timer = setTimeout(stop, Math.max(0, call.deadline - performance.now() - ANSWER_MS));
    call.addEventListener('abort', stop);
    try {
      const changes = await approvals.changes(approver, cursor, giveUp.signal);
      // Long ago by now: whoever was removed or frozen meanwhile hears nothing more.
      if (approvals.approverOf(spiffeId) !== approver) throw await denied(caller, 'Watch');
      return { approvals: changes.views.map(wireApproval), cursor: changes.cursor };
    } finally {
      clearTimeout(timer);
      call.removeEventListener('abort', stop);
    }
  });

  serve<AcceptStateRequest__Output>('AcceptState', async ({ reason }, caller) => {
    const by = actor(caller);
    const decision = services.decideMethod({ spiffeId: by.spiffeId, method: 'Approvals.AcceptState' });
    if (decision.effect === 'deny') throw await denied(caller, 'AcceptState');
    const { voided, leafIndex } = await approvals.acceptState(by, reason);
    return { voided, log: { origin: services.audit.origin, leafIndex } };
  });

  return handlers;
}

function actor({ identity, peer }: Caller): {
  readonly spiffeId: string;
  readonly credential: string;
  readonly peer: string;
} {
  return { spiffeId: identity.spiffeId.id, credential: identity.credential.sha256, peer };
}

/** @throws Failure REQUEST_INVALID */
function signatureOf(request: ApproveRequest__Output): VoteSignature {
  const { sshsig, jws, webauthn } = request;
  if (sshsig) return { method: 'sshsig', signature: sshsig };
  if (jws) return { method: 'jws', signature: jws };
  if (webauthn) {
    const { credentialId, authenticatorData, clientDataJson, signature } = webauthn;
    return { method: 'webauthn', credentialId, authenticatorData, clientDataJson, signature };
  }
  throw new Failure('REQUEST_INVALID', 'an approval is a signature: sshsig, jws or webauthn');
}

function wireApproval(view: ApprovalView): object {
  const { quorum } = view;
  return {
    id: view.id,
    state: view.state,
    act: view.document,
    approvals: view.approvals,
    approvalsNeeded: quorum.approvals,
    groups: quorum.groups,
    methods: quorum.methods,
    votes: view.votes,
    used: view.used,
    openedAt: view.openedAt,
    reason: view.reason,
    closedBy: view.closedBy,
    emergency: quorum.emergency,
    leafIndex: view.openedLeaf,
  };
}
