import type { LimitScope } from './decision.ts';

/**
 * Whom a limit counts: uses with the same subject share its counter. The broker and a replay name it alike.
 *
 * @param spiffeId well-formed, as a request has it that was allowed: it is not parsed again for each limit
 * @param key empty for an operation that uses none
 */
export function limitSubject(by: LimitScope, spiffeId: string, key: string): string {
  switch (by) {
    case 'workload':
      return spiffeId;
    case 'key':
      return key;
    case 'workload-and-key':
      return `${spiffeId} ${key}`;
    case 'trust-domain':
      return trustDomainOf(spiffeId);
    case 'rule':
      return '';
    default:
      return by satisfies never;
  }
}

function trustDomainOf(spiffeId: string): string {
  const start = 'spiffe://'.length;
  const end = spiffeId.indexOf('/', start);
  return end === -1 ? spiffeId.slice(start) : spiffeId.slice(start, end);
}
