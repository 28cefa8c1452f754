/** Puts together what people outside see of approvals: the pages in front of them, and the courier that tells of them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type RoleUsers, treeRoot } from '../../hsm-adapters/frames/isolation.ts';
import type { ApprovalPolicy } from '../../policy/quorum.ts';
import type { ApprovalService } from '../approvals/approval-service.ts';
import type { Notice as ApprovalNotice } from '../approvals/approval-view.ts';
import type { RelyingParty } from '../approvals/passkey.ts';
import type { IsFrozen } from '../approvals/tally.ts';
import { approvalDesk } from '../approvals/webauthn-desk.ts';
import { ApproverPages } from '../approvals/webauthn-pages.ts';
import { SignIns } from '../approvals/webauthn-sign-in.ts';
import type { LastmileConfig } from '../config.ts';
import { DEFAULT_RETRIES } from '../courier/courier-frames.ts';
import { type Courier, startCourier } from '../courier/courier-supervisor.ts';
import type { Notice, NoticeType } from '../courier/notice.ts';
import { originOfPages, type PagesConfiguration } from '../gateway/edge-frames.ts';
import type { GatewayEvents } from '../gateway/gateway-supervisor.ts';
import type { Log } from '../telemetry/log.ts';

/** What the control gateway needs to serve the pages. */
export interface PagesWiring extends Required<Pick<GatewayEvents, 'onPage' | 'onPagesGone'>> {
  readonly configuration: PagesConfiguration;
  readonly tls: { readonly certificate: string; readonly key: string };
}

export interface PagesNeeds {
  readonly service: Pick<ApprovalService, 'list' | 'get' | 'attachment' | 'approve' | 'reject'>;
  readonly policy: () => ApprovalPolicy;
  readonly isFrozen: IsFrozen;
  readonly now: () => number;
}

export interface Outward {
  /** Where passkeys are used; undefined: there are no pages, and no passkey counts. */
  readonly party: RelyingParty | undefined;
  /** Undefined: nobody is told. */
  readonly notify: ((notice: ApprovalNotice) => Promise<void>) | undefined;
  readonly courier: Courier | undefined;
  pages(needs: PagesNeeds): PagesWiring | undefined;
  /** The pages listen on this port: their origin is known, and passkeys count from now on. */
  pagesListen(port: number): void;
  close(): Promise<void>;
}

export function openOutward(config: LastmileConfig, users: Pick<RoleUsers, 'courier'>, log: Log): Outward {
  const { pages } = config.listen;
  const origins: string[] = [];
  // Port 0 is known only once it is bound: until then no origin is ours.
  const known = pages?.publicPort ?? pages?.address.port ?? 0;
  if (pages !== undefined && known !== 0) origins.push(originOfPages(pages.name, known));
  const party = pages && { id: pages.name, origins };
  const courier =
    config.courier &&
    startCourier({
      configuration: { ...config.courier, ...DEFAULT_RETRIES },
      queueDirectory: join(config.state, 'courier'),
      user: users.courier,
      root: treeRoot(),
      log,
    });
  return {
    party,
    courier,
    notify: courier && ((notice) => courier.tell(toNotice(notice, origins[0]))),
    pages: (needs) => {
      if (pages === undefined || party === undefined) return undefined;
      const served = approverPages(needs, party, log);
      return {
        configuration: {
          host: pages.address.host,
          port: pages.address.port,
          name: pages.name,
          publicPort: pages.publicPort,
        },
        tls: {
          certificate: readFileSync(pages.certificate, 'utf8'),
          key: readFileSync(pages.key, 'utf8'),
        },
        onPage: (call) => served.call(call),
        onPagesGone: () => served.gatewayGone(),
      };
    },
    pagesListen: (port) => {
      if (pages !== undefined && origins.length === 0) origins.push(originOfPages(pages.name, port));
    },
    close: async () => {
      await courier?.stop();
    },
  };
}

function approverPages(
  { service, policy, isFrozen, now }: PagesNeeds,
  party: RelyingParty,
  log: Log,
): ApproverPages {
  return new ApproverPages({
    signIns: new SignIns({
      policy,
      isFrozen,
      party: () => party,
    }),
    desk: approvalDesk({ service, policy, isFrozen }),
    now,
    log,
  });
}

const TYPES: Readonly<Record<ApprovalNotice['kind'], NoticeType>> = {
  opened: 'approval.opened',
  reminder: 'approval.reminder',
  approved: 'approval.approved',
  rejected: 'approval.rejected',
  withdrawn: 'approval.withdrawn',
  expired: 'approval.expired',
  'emergency-used': 'emergency.used',
};

/** What leaves the house: no content, and no reason that somebody wrote. */
export function toNotice(notice: ApprovalNotice, pagesOrigin: string | undefined): Notice {
  return {
    id: notice.id,
    type: TYPES[notice.kind],
    timestamp: notice.at,
    data: {
      approval: notice.approval,
      origin: notice.origin,
      requester: notice.requester,
      operation: notice.operation,
      key: notice.key,
      rule: notice.rule,
      notAfter: notice.notAfter,
      approvals: notice.approvals,
      needed: notice.approvalsNeeded,
      groups: notice.groups.join(' '),
      emergency: notice.isEmergency,
      ...(pagesOrigin === undefined ? {} : { url: `${pagesOrigin}/#${notice.approval}` }),
    },
  };
}
