/**
 * People, groups and what needs their approval, as a policy file says it. A quorum that nobody can fulfil, or that one
 * person alone can, is refused here: later it would be found out at the worst moment, or never.
 */
import { ApproverKeyError, readApproverKey } from './approver-key.ts';
import { parseDuration } from './duration.ts';
import { loadPatterns } from './load-rule.ts';
import {
  type Pattern,
  parseKeyPattern,
  parseSpiffeIdPattern,
  patternCovers,
  patternsOverlap,
} from './pattern.ts';
import {
  APPROVAL_METHODS,
  type ApprovalMethod,
  type Approver,
  type ApproverKey,
  type Quorum,
} from './quorum.ts';
import type {
  ApproverDocument,
  GovernanceDocument,
  LifecycleDocument,
  LifecycleMethod,
} from './quorum-schema.ts';
import type { Report } from './report.ts';
import type { PolicyDocument } from './schema.ts';
import { spiffeIdOrUndefined } from './scope.ts';
import type { YamlPath } from './source.ts';
import { nearestName, quoteSource } from './source-issue.ts';

/** A rule for making keys: plain data. */
export interface LoadedLifecycleRule {
  readonly id: string;
  readonly methods: readonly LifecycleMethod[];
  /** Undefined: every key, those of the broker as well. */
  readonly keys: readonly Pattern[] | undefined;
  readonly quorum: Quorum;
}

/** What all quorums have in common; those of rules say more. */
export type QuorumFields = GovernanceDocument & {
  readonly uses?: number;
  readonly blind?: boolean;
  readonly presence?: 'required' | 'none';
  readonly covers?: 'act' | 'rule';
  readonly emergency?: boolean;
};

const MIN_WITHIN_MS = 60_000;
const MAX_WITHIN_MS = 30 * 86_400_000;

/** Who can approve, while a file is read. */
export class People {
  readonly approvers: readonly Approver[];
  readonly groups: ReadonlyMap<string, readonly string[]>;
  /** SPIFFE IDs and patterns under which each of them asks for things. */
  readonly #requestsAs = new Map<string, readonly Pattern[]>();
  readonly #byId: ReadonlyMap<string, Approver>;

  constructor(document: PolicyDocument, report: Report) {
    this.approvers = document.approvers.map((one, i) => this.#loadApprover(one, ['approvers', i], report));
    this.#byId = new Map(this.approvers.map((one) => [one.id, one]));
    checkDistinct(this.approvers, this.#requestsAs, document, report);
    this.groups = loadGroups(document.groups, this.#byId, report);
  }

  #loadApprover(one: ApproverDocument, path: YamlPath, report: Report): Approver {
    const id = one.spiffeId === undefined ? undefined : spiffeIdOrUndefined(one.spiffeId);
    if (one.spiffeId !== undefined && (id === undefined || id.segments.length === 0))
      report.refuse([...path, 'spiffeId'], `${quoteSource(one.spiffeId)} is not a SPIFFE ID with a path`);
    const also = loadPatterns(
      one.alsoRequestsAs ?? [],
      parseSpiffeIdPattern,
      [...path, 'alsoRequestsAs'],
      report,
    );
    const own: Pattern[] =
      id === undefined ? [] : [{ text: id.id, segments: [id.trustDomain, ...id.segments], exact: true }];
    this.#requestsAs.set(one.id, [...own, ...also]);
    return {
      id: one.id,
      keys: one.keys.map((key, i) => loadKey(key, [...path, 'keys', i], report)),
      spiffeId: one.spiffeId,
      alsoRequestsAs: one.alsoRequestsAs ?? [],
    };
  }

  /**
   * @param requesters who can ask for it; empty: nobody knows
   * @returns a quorum that can be fulfilled, unless something was refused
   */
  quorum(fields: QuorumFields, path: YamlPath, requesters: readonly Pattern[], report: Report): Quorum {
    const groups = typeof fields.of === 'string' ? [fields.of] : fields.of;
    const methods = APPROVAL_METHODS.filter((method) => fields.methods?.includes(method) ?? true);
    const withinMs = parseDuration(fields.within) ?? 0;
    if (withinMs < MIN_WITHIN_MS || withinMs > MAX_WITHIN_MS)
      report.refuse([...path, 'within'], `${quoteSource(fields.within)} is not 1m to 30d`);
    this.#checkPeople(fields, groups, methods, path, requesters, report);
    return {
      approvals: fields.approvals,
      groups,
      withinMs,
      uses: fields.uses ?? 1,
      methods,
      blind: fields.blind ?? false,
      withoutPresence: fields.presence === 'none',
      covers: fields.covers ?? 'act',
      emergency: fields.emergency ?? false,
    };
  }

  /** Of those people, who asks for something under all of these names whenever it is asked for. */
  onlyRequester(groups: readonly string[], requesters: readonly Pattern[]): string | undefined {
    if (requesters.length === 0) return undefined;
    return [...this.#peopleOf(groups)].find((id) => requesters.every((pattern) => this.#isOwn(id, pattern)));
  }

  /** Members who cannot be told from those who ask, because nothing says under which names they do. */
  unmapped(groups: readonly string[]): readonly string[] {
    return [...this.#peopleOf(groups)].filter((id) => this.#requestsAs.get(id)?.length === 0);
  }

  #peopleOf(groups: readonly string[]): ReadonlySet<string> {
    return new Set(groups.flatMap((group) => this.groups.get(group) ?? []));
  }

  #isOwn(id: string, requester: Pattern): boolean {
    return this.#requestsAs.get(id)?.some((pattern) => patternCovers(pattern, requester)) === true;
  }

  #checkPeople(
    { approvals, of, methods: named }: QuorumFields,
    groups: readonly string[],
    methods: readonly ApprovalMethod[],
    path: YamlPath,
    requesters: readonly Pattern[],
    report: Report,
  ): void {
    let known = true;
    for (const [i, group] of groups.entries()) {
      const at = typeof of === 'string' ? [...path, 'of'] : [...path, 'of', i];
      if (!this.groups.has(group)) {
        const nearest = nearestName(group, [...this.groups.keys()]);
        const hint = nearest === undefined ? undefined : `one of \`groups\`; did you mean \`${nearest}\`?`;
        report.refuse(at, `there is no group ${quoteSource(group)}`, hint);
        known = false;
      } else if (groups.indexOf(group) !== i) report.refuse(at, `${quoteSource(group)} is named twice`);
    }
    if (!known) return;
    const people = [...this.#peopleOf(groups)];
    const whom = groups.join(' and ');
    const at = [...path, 'approvals'];
    if (approvals > people.length) {
      report.refuse(at, `\`approvals\` is ${approvals}, but ${whom} ${peopleWords(people.length)}`);
      return;
    }
    const canSign = (id: string, by: readonly ApprovalMethod[]): boolean =>
      this.#byId.get(id)?.keys.some((key) => by.includes(key.method)) === true;
    const able = people.filter((id) => canSign(id, methods));
    if (able.length < approvals) {
      const who = able.length === 0 ? 'nobody' : `only ${able.length}`;
      report.refuse(
        at,
        `\`approvals\` is ${approvals}, but ${who} of ${whom} has a key for ${methods.join(', ')}`,
      );
      return;
    }
    for (const [i, method] of (named ?? []).entries()) {
      if (!people.some((id) => canSign(id, [method])))
        report.warn([...path, 'methods', i], `nobody of ${whom} has a key for \`${method}\``);
    }
    const stuck = requesters.filter(
      (requester) => able.filter((id) => !this.#isOwn(id, requester)).length < approvals,
    );
    const [first] = stuck;
    if (first === undefined) return;
    const why = `what ${quoteSource(first.text)} asks for cannot get ${approvals} approvals of ${whom}: nobody approves what they asked for themselves`;
    if (stuck.length === requesters.length) report.refuse(at, why);
    else report.warn(at, why);
  }
}

function peopleWords(count: number): string {
  return count === 1 ? 'is one person' : `are ${count} different people`;
}

function loadKey(
  { method, publicKey, credentialId }: ApproverDocument['keys'][number],
  path: YamlPath,
  report: Report,
): ApproverKey {
  let key: ApproverKey;
  if (method === 'webauthn') {
    if (credentialId === undefined)
      report.refuse([...path, 'credentialId'], '`credentialId` is missing: a passkey is named by it');
    key = { method, publicKey, credentialId: credentialId ?? '' };
  } else {
    if (credentialId !== undefined)
      report.refuseName([...path, 'credentialId'], '`credentialId` is for `method: webauthn` only');
    key = { method, publicKey };
  }
  try {
    return readApproverKey(key).key;
  } catch (error) {
    if (!(error instanceof ApproverKeyError)) throw error;
    if (method !== 'webauthn' || credentialId !== undefined)
      report.refuse([...path, 'publicKey'], `the key ${error.message}`);
    return key;
  }
}

/** Two entries that are one person would let that person agree twice. */
function checkDistinct(
  approvers: readonly Approver[],
  requestsAs: ReadonlyMap<string, readonly Pattern[]>,
  document: PolicyDocument,
  report: Report,
): void {
  const ids = new Map<string, string>();
  const keys = new Map<string, string>();
  const callers = new Map<string, string>();
  for (const [i, { id, spiffeId }] of approvers.entries()) {
    const path = ['approvers', i];
    const twin = ids.get(id.toLowerCase());
    if (twin === id) report.refuse([...path, 'id'], `the id ${quoteSource(id)} is used already`);
    else if (twin !== undefined)
      report.refuse([...path, 'id'], `${quoteSource(id)} and ${quoteSource(twin)} differ in case alone`);
    else ids.set(id.toLowerCase(), id);
    if (spiffeId !== undefined) {
      const other = callers.get(spiffeId);
      if (other !== undefined) report.refuse([...path, 'spiffeId'], onePerson(id, other, 'this SPIFFE ID'));
      else callers.set(spiffeId, id);
    }
    // As they stand in the file: what could not be read has been refused.
    for (const [k, key] of (document.approvers[i]?.keys ?? []).entries()) {
      for (const name of namesOf(key)) {
        const other = keys.get(name);
        const at = [...path, 'keys', k];
        if (other === undefined) keys.set(name, id);
        else if (other !== id || name.startsWith(`${key.method} `)) {
          report.refuse(at, other === id ? 'this key is given twice' : onePerson(id, other, 'this key'));
          break;
        }
      }
    }
  }
  for (const [i, { id, spiffeId }] of approvers.entries()) {
    const caller = requestsAs.get(id)?.[0];
    if (spiffeId === undefined || caller === undefined) continue;
    const other = approvers.find(
      (one) =>
        one.id !== id &&
        one.spiffeId !== spiffeId &&
        requestsAs.get(one.id)?.some((pattern) => patternCovers(pattern, caller)) === true,
    );
    if (other !== undefined)
      report.refuse(['approvers', i, 'spiffeId'], onePerson(id, other.id, 'this SPIFFE ID'));
  }
}

function onePerson(id: string, other: string, what: string): string {
  return `${what} is ${quoteSource(other)} already: ${quoteSource(id)} would be the same person counted twice`;
}

/** By which a key is found again under another id; with its method in front, within the same id. */
function namesOf({ method, publicKey, credentialId }: ApproverDocument['keys'][number]): readonly string[] {
  const key: ApproverKey =
    method === 'webauthn' ? { method, publicKey, credentialId: credentialId ?? '' } : { method, publicKey };
  try {
    const { identity } = readApproverKey(key);
    const names = [identity, `${method} ${identity}`];
    return method === 'webauthn' ? [...names, `webauthn credential ${credentialId}`] : names;
  } catch (error) {
    if (error instanceof ApproverKeyError) return [];
    throw error;
  }
}

function loadGroups(
  groups: PolicyDocument['groups'],
  approvers: ReadonlyMap<string, Approver>,
  report: Report,
): ReadonlyMap<string, readonly string[]> {
  const loaded = new Map<string, readonly string[]>();
  for (const [name, members] of Object.entries(groups)) {
    for (const [i, member] of members.entries()) {
      const path = ['groups', name, i];
      if (!approvers.has(member)) {
        const nearest = nearestName(member, [...approvers.keys()]);
        report.refuse(
          path,
          `there is no approver ${quoteSource(member)}`,
          nearest === undefined
            ? 'an id of `approvers`'
            : `an id of \`approvers\`; did you mean \`${nearest}\`?`,
        );
      } else if (members.indexOf(member) !== i) {
        report.refuse(path, `${quoteSource(member)} is in ${quoteSource(name)} already, and counts once`);
      }
    }
    loaded.set(name, members);
  }
  return loaded;
}

/** @param requesters who may call these methods; empty: nobody knows */
export function loadLifecycle(
  documents: readonly LifecycleDocument[],
  people: People,
  requesters: (method: string) => readonly Pattern[],
  report: Report,
): LoadedLifecycleRule[] {
  const rules = documents.map(({ id, methods, keys, quorum }, i): LoadedLifecycleRule => {
    const path = ['lifecycle', i];
    return {
      id,
      methods: [...new Set(methods)],
      keys: keys === undefined ? undefined : loadPatterns(keys, parseKeyPattern, [...path, 'keys'], report),
      quorum: people.quorum(quorum, [...path, 'quorum'], methods.flatMap(requesters), report),
    };
  });
  for (const [i, rule] of rules.entries()) {
    const earlier = rules.slice(0, i).find((other) => overlaps(rule, other));
    if (earlier !== undefined) {
      report.refuse(
        ['lifecycle', i],
        `\`${rule.id}\` and \`${earlier.id}\` are about one method and one key: which of them holds must not depend on the order of a file`,
      );
    }
  }
  return rules;
}

function overlaps(a: LoadedLifecycleRule, b: LoadedLifecycleRule): boolean {
  if (!a.methods.some((method) => b.methods.includes(method))) return false;
  if (a.keys === undefined || b.keys === undefined) return true;
  return a.keys.some((key) => b.keys?.some((other) => patternsOverlap(key, other)));
}
