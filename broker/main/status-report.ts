import { readFileSync } from 'node:fs';
import type { TokenAdapter } from '../../hsm-adapters/adapter.ts';
import type { ApprovalService } from '../approvals/approval-service.ts';
import type { Sequencer } from '../audit/sequencer.ts';
import type { LastmileConfig } from '../config.ts';
import { REFUSALS } from '../gateway/edge-frames.ts';
import type { Gateway } from '../gateway/gateway-supervisor.ts';
import type { KeyCatalog } from '../keyuse/key-catalog.ts';
import type { KeyUseMethod } from '../proto/methods.ts';
import type { RequestCounter } from '../telemetry/request-counter.ts';
import type { Counters } from './counters.ts';
import type { Outward } from './outward.ts';
import type { PolicyHolder } from './policy-holder.ts';
import type { ProcessUsers } from './process-users.ts';
import type { RefusedHandshakes } from './refused-handshakes.ts';
import { type SoftwareGeneration, VERSION } from './software-generation.ts';

export interface StatusSources {
  readonly config: LastmileConfig;
  readonly users: ProcessUsers;
  readonly catalog: KeyCatalog;
  readonly audit: Sequencer;
  readonly policy: PolicyHolder;
  readonly tokens: readonly TokenAdapter[];
  readonly counters: Counters;
  readonly approvals: () => Pick<ApprovalService, 'stopped'> | undefined;
  readonly outward: Outward;
  readonly refusedHandshakes: RefusedHandshakes;
  readonly requests: RequestCounter;
  readonly generation: SoftwareGeneration;
}

/** What uses no key and leaves no entry when it is served: counted instead. */
const READS: readonly KeyUseMethod[] = ['Verify', 'GetPublicKey', 'ListKeys', 'GetReceipt'];

/** What the broker says of itself to operators. It asks its parts anew each time, and decides nothing. */
export class StatusReport {
  readonly #sources: StatusSources;
  #gateways: readonly Gateway[] = [];

  constructor(sources: StatusSources) {
    this.#sources = sources;
  }

  /** These listen: their processes are shown from now on. */
  gatewaysAre(gateways: readonly Gateway[]): void {
    this.#gateways = gateways;
  }

  /** What an operator should know and may have to change, in words; also what protects less than it may seem to. */
  warnings(): readonly string[] {
    const { config, users, catalog, audit, policy, tokens, counters, approvals, outward } = this.#sources;
    const found: string[] = [];
    if (audit.failure !== undefined) found.push(`audit log: ${audit.failure.message}: key use is stopped`);
    if (policy.refusal !== '')
      found.push('the policy file is not in force: the policy before it is (see policyRefusal)');
    if (config.profile === 'development') found.push('development instance: its CA and PINs are files');
    if (!users.isIsolated) {
      found.push('processes not isolated: start the broker as root, and each gets a user of its own');
    }
    const software = tokens.filter((token) => token.info?.software === true);
    if (software.length > 0) found.push(`software token: ${software.map((token) => token.name).join(', ')}`);
    if (catalog.find(config.audit.key, 0) === undefined)
      found.push(`the log has no key: create ${config.audit.key} (Ed25519) on a token`);
    found.push(...counters.warnings());
    const stopped = approvals()?.stopped;
    if (stopped !== undefined)
      found.push(`approvals are stopped: ${stopped}; look into it, then \`lastmile approvals accept-state\``);
    const { lost = 0 } = outward.courier?.status() ?? {};
    if (lost > 0) found.push(`courier: ${lost} deliveries were given up since the broker started`);
    for (const { rule, until } of policy.current.observing) {
      const end = new Date(until).toISOString();
      found.push(
        counters.clock.now() < until
          ? `the rule ${rule} only observes, until ${end}: it refuses nothing`
          : `the rule ${rule} was to observe until ${end} and is enforced since: say so in the policy`,
      );
    }
    found.push('log is not witnessed: it proves nothing against the holder of its key');
    return found;
  }

  /** GetStatusResponse of admin.proto, but for what the API knows itself. */
  async status(): Promise<object> {
    const { audit, policy, tokens, outward, refusedHandshakes, requests, generation } = this.#sources;
    const { treeSize, checkpointSize } = audit.status;
    return {
      state: audit.failure === undefined ? 'serving' : 'not-serving',
      warnings: this.warnings(),
      version: VERSION,
      origin: audit.origin,
      policyHash: policy.current.hash,
      policyLoadedAt: policy.loadedAt,
      policyRefusal: policy.refusal,
      logSize: audit.size,
      checkpointSize: Math.min(checkpointSize, treeSize),
      auditFailure: audit.failure?.message ?? '',
      processes: [
        processStatus('broker', process.pid, process.getuid?.() ?? 0, 'running', 0),
        ...this.#gateways.flatMap((gateway) =>
          gateway
            .processes()
            .map((child) =>
              processStatus(
                child.name,
                child.pid,
                child.uid,
                child.isListening ? 'listening' : 'starting',
                child.restarts,
              ),
            ),
        ),
        ...tokens.map((token) =>
          processStatus(
            `token worker ${token.name}`,
            token.worker?.pid,
            token.worker?.uid ?? 0,
            token.state,
            token.worker?.restarts ?? 0,
          ),
        ),
        ...courierProcesses(outward),
      ],
      refusedHandshakes: Object.fromEntries(
        REFUSALS.filter((reason) => refusedHandshakes.sinceStart.has(reason)).map((reason) => [
          reason,
          refusedHandshakes.sinceStart.get(reason),
        ]),
      ),
      reads: Object.fromEntries(
        READS.map((name) => [name, requests.get(`KeyUse.${name}`, 'OK')] as const).filter(
          ([, count]) => count > 0,
        ),
      ),
      softwareGeneration: generation.current,
    };
  }
}

function processStatus(
  role: string,
  pid: number | undefined,
  uid: number,
  state: string,
  restarts: number,
): object {
  return { role, pid: pid ?? 0, uid, state, restarts, residentBytes: residentBytes(pid) };
}

function courierProcesses({ courier }: Outward): object[] {
  if (courier === undefined) return [];
  const { pid, uid, restarts, isReady } = courier.status();
  return [processStatus('courier', pid, uid, isReady ? 'ready' : 'starting', restarts)];
}

function residentBytes(pid: number | undefined): number {
  if (pid === undefined) return 0;
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch (error) {
    // It has just ended, or this system has no /proc.
    if (
      (error as NodeJS.ErrnoException).code === 'ENOENT' ||
      (error as NodeJS.ErrnoException).code === 'ESRCH'
    )
      return 0;
    throw error;
  }
}
