import { LastmileError, type LastmileReason } from '../client/errors.ts';
import { CliError, EXIT, type ExitCode } from './context.ts';
import { printable } from './output.ts';

/** Everything that a failed command says, for people and as JSON. */
export interface FailureReport {
  readonly exitCode: ExitCode;
  readonly message: string;
  readonly reason?: LastmileReason;
  readonly performed?: LastmileError['performed'];
  /** Id of the approval that is missing. */
  readonly approval?: string;
  readonly advice?: string;
}

/** What to do next. For readers who did not write the policy and do not know the broker from inside. */
const ADVICE: Readonly<Record<LastmileReason, string>> = {
  SVID_MISSING: 'check the paths of the profile, or of --certificate, --private-key and --trust-bundle',
  SVID_INVALID:
    'compare the certificate with SPIFFE X509-SVID: one URI name, not a CA; the broker has the refusal in its log',
  SVID_EXPIRED: 'renew the X.509-SVID; in a development instance `lastmile init` renews it',
  SVID_NOT_YET_VALID: 'set the clock of this machine, then try again',
  SVID_UNTRUSTED: 'have the X.509-SVID issued by the CA of the trust bundle that the broker has',
  SVID_FOREIGN_TRUST_DOMAIN: "use an X.509-SVID of the broker's trust domain",
  CREDENTIAL_FROZEN: 'an operator has frozen it; `lastmile freezes` says why',
  POLICY_DENIED:
    'ask the security team; `lastmile policy explain` says which rule is missing (a key that does not exist looks the same)',
  APPROVAL_REQUIRED: 'more approvals are needed before this may run',
  RATE_LIMITED: 'try again later, or ask for a higher limit',
  REQUEST_INVALID: 'correct the request; `--help` has an example',
  CIPHERTEXT_REJECTED: 'check the key, the associated data, and that the file is whole',
  BUSY: 'try again; if it lasts, the tokens have too few sessions for the load',
  KEY_UNUSABLE: 'an operator sees with `lastmile keys show` what is wrong with the key',
  OPERATION_UNSUPPORTED: 'no token of this key can do this; use another algorithm or key',
  TOKEN_UNREACHABLE: 'an operator sees with `lastmile tokens list` which token is away',
  TOKEN_LOGIN_BLOCKED: 'correct the PIN where it is kept, then `lastmile tokens unblock`',
  AUDIT_UNAVAILABLE:
    'the broker cannot write its log and uses no key until it can; `lastmile status` says why',
  AUDIT_INCONSISTENT: 'the log is damaged or was cut; keep the directory as it is and call the security team',
  DEADLINE_EXCEEDED: 'try again with a longer --timeout',
  CANCELLED: 'the call was cancelled',
  INTERNAL: "the cause is in the broker's log",
  BROKER_UNREACHABLE: 'start it with `lastmile serve`, or correct --target / --control',
  BROKER_UNTRUSTED:
    'do not go on before you know who answers there; compare --broker-id and --trust-bundle with the broker',
  CONNECTION_LOST: 'the broker may have done it before the connection broke: `lastmile audit list` tells',
  PROTOCOL_MISMATCH: 'use the same version of client and broker, and the port of the right listener',
  CLIENT_CLOSED: 'try again',
};

function exitCodeOf(reason: LastmileReason): ExitCode {
  switch (reason) {
    case 'BROKER_UNREACHABLE':
    case 'CONNECTION_LOST':
    case 'DEADLINE_EXCEEDED':
      return EXIT.unreachable;
    case 'CIPHERTEXT_REJECTED':
      return EXIT.unverified;
    default:
      return EXIT.failed;
  }
}

/** @returns undefined for what is no failure of ours to explain: a bug */
export function reportOf(error: unknown): FailureReport | undefined {
  if (error instanceof CliError) {
    return {
      exitCode: error.exitCode,
      message: error.message,
      ...(error.advice === undefined ? {} : { advice: error.advice }),
    };
  }
  if (!(error instanceof LastmileError)) return undefined;
  const { reason, performed, message } = error;
  const { retry_after: retryAfter, approval } = error.metadata;
  return {
    exitCode: exitCodeOf(reason),
    message,
    reason,
    performed,
    ...(approval === undefined ? {} : { approval }),
    advice: advise(reason, retryAfter, approval),
  };
}

function advise(
  reason: LastmileReason,
  retryAfter: string | undefined,
  approval: string | undefined,
): string {
  if (retryAfter !== undefined) return `try again in ${retryAfter}`;
  if (reason === 'APPROVAL_REQUIRED' && approval !== undefined)
    return `approvers see it with \`lastmile approvals show ${approval}\`; when they have agreed, ask again for exactly this`;
  return ADVICE[reason];
}

/** `error: REASON: what failed` and what to do next, a line each. */
export function formatReport(report: FailureReport): string {
  const lines = [`error: ${report.reason === undefined ? '' : `${report.reason}: `}${report.message}`];
  if (report.performed === 'unknown') lines.push('whether the key was used is not known');
  if (report.performed === 'yes') lines.push('the key was used, and the result was withheld');
  if (report.advice !== undefined) lines.push(`next: ${report.advice}`);
  return lines.map((line) => `${printable(line, '\n')}\n`).join('');
}
