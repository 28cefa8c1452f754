import type { MethodDecision } from './decision.ts';
import { isKeyName } from './key-name.ts';
import { matchesPattern, parseKeyPattern, parseSpiffeIdPattern, spiffeIdSegments } from './pattern.ts';
import { parseSpiffeId, type SpiffeId, SpiffeIdError } from './spiffe-id.ts';

/** What an entry is about, as far as a scope looks at it. */
export interface ScopedSubject {
  /** SPIFFE ID of who acted; anything else (`lastmile`) is outside of every scope that looks at workloads. */
  readonly subject: string;
  readonly key?: string | undefined;
}

/**
 * A test for what an auditor may see. Everything that the scope names must hold, and what an entry does not have
 * (a key, a workload) does not hold. Without a scope everything is seen.
 */
export function compileScope(scope: MethodDecision['scope']): (entry: ScopedSubject) => boolean {
  if (scope === undefined) return () => true;
  const { trustDomains } = scope;
  const workloads = scope.workloads?.map(parseSpiffeIdPattern);
  const keys = scope.keys?.map(parseKeyPattern);
  return ({ subject, key }) => {
    if (trustDomains !== undefined || workloads !== undefined) {
      const id = spiffeIdOrUndefined(subject);
      if (id === undefined) return false;
      if (trustDomains !== undefined && !trustDomains.includes(id.trustDomain)) return false;
      const segments = spiffeIdSegments(id);
      if (workloads !== undefined && !workloads.some((pattern) => matchesPattern(pattern, segments)))
        return false;
    }
    if (keys !== undefined) {
      if (key === undefined || !isKeyName(key)) return false;
      const segments = key.split('/');
      if (!keys.some((pattern) => matchesPattern(pattern, segments))) return false;
    }
    return true;
  };
}

export function spiffeIdOrUndefined(text: string): SpiffeId | undefined {
  try {
    return parseSpiffeId(text);
  } catch (error) {
    if (error instanceof SpiffeIdError) return undefined;
    throw error;
  }
}
