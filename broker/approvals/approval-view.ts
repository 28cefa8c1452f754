/** An approval as it is shown, and as others are told of it. */
import type { Quorum } from '../../policy/quorum.ts';
import type { ApprovalNoticeRow, ApprovalRow, ApprovalVoteRow } from '../state/approval-rows.ts';
import { type Act, type ApprovalState, parseAct, type VoteSignature } from './act.ts';
import type { CastVote } from './tally.ts';

export interface ApprovalView {
  readonly id: string;
  readonly state: ApprovalState;
  readonly act: Act;
  /** What is signed. */
  readonly document: string;
  readonly quorum: Quorum;
  /** Every vote on record, whether it still counts or not. */
  readonly votes: readonly {
    readonly approver: string;
    readonly method: VoteSignature['method'];
    readonly leafIndex: number;
    readonly counts: boolean;
  }[];
  /** How many people's approvals count now. */
  readonly approvals: number;
  readonly used: number;
  /** RFC 3339. */
  readonly openedAt: string;
  /** Why it was closed, and by whom: an approver's id, who asked, or `lastmile`. */
  readonly reason: string;
  readonly closedBy: string;
  readonly openedLeaf: number;
  readonly change: number;
}

export function viewOf(
  row: ApprovalRow,
  state: ApprovalState,
  quorum: Quorum,
  votes: readonly ApprovalVoteRow[],
  counting: readonly CastVote[],
): ApprovalView {
  const leaves = new Set(counting.map(({ leafIndex }) => leafIndex));
  return {
    id: row.id,
    state,
    act: parseAct(row.act),
    document: row.act,
    quorum,
    votes: votes.flatMap(({ approver, signature, leaf }) =>
      leaf === null
        ? []
        : [
            {
              approver,
              method: (JSON.parse(signature) as VoteSignature).method,
              leafIndex: leaf,
              counts: leaves.has(leaf),
            },
          ],
    ),
    approvals: counting.length,
    used: row.used,
    openedAt: new Date(row.openedAt).toISOString(),
    reason: row.reason,
    closedBy: row.closedBy,
    openedLeaf: row.openedLeaf ?? 0,
    change: row.change,
  };
}

export type NoticeKind =
  | 'opened'
  | 'reminder'
  | 'approved'
  | 'rejected'
  | 'withdrawn'
  | 'expired'
  | 'emergency-used';

/** What approvers and others are told: enough to know that there is something to look at, and none of its content. */
export interface Notice {
  /** The same notice told twice has the same id. */
  readonly id: string;
  readonly kind: NoticeKind;
  /** RFC 3339. */
  readonly at: string;
  readonly approval: string;
  readonly origin: string;
  readonly requester: string;
  readonly operation: string;
  readonly key: string;
  readonly rule: string;
  readonly notAfter: string;
  readonly approvals: number;
  readonly approvalsNeeded: number;
  readonly groups: readonly string[];
  readonly isEmergency: boolean;
  /** Of a rejection. */
  readonly reason: string;
}

export function noticeOf(row: ApprovalNoticeRow, view: ApprovalView): Notice {
  const { act, quorum } = view;
  return {
    id: `${row.approval}:${row.kind}:${row.at}`,
    kind: row.kind as NoticeKind,
    at: new Date(row.at).toISOString(),
    approval: row.approval,
    origin: act.origin,
    requester: act.requester,
    operation: act.operation,
    key: act.key,
    rule: act.rule,
    notAfter: act.notAfter,
    approvals: view.approvals,
    approvalsNeeded: quorum.approvals,
    groups: quorum.groups,
    isEmergency: quorum.emergency,
    reason: view.reason,
  };
}
