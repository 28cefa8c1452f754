import { AdapterError, ALGORITHMS, type TokenInfo } from '../adapter.ts';
import type { Profile } from '../profiles/profile.ts';
import { CKF } from './constants.ts';
import type { Cryptoki, RawTokenInfo, SlotHandle } from './cryptoki.ts';
import { CkrError } from './cryptoki.ts';
import { mechanismType } from './mechanisms.ts';

/**
 * Which token is meant. Never by slot number: their order changes between two initialisations, and handles are
 * used again.
 */
export interface TokenChoice {
  /** Exactly one of the two. */
  readonly serial?: string | undefined;
  readonly label?: string | undefined;
}

export interface FoundToken {
  readonly slot: SlotHandle;
  readonly raw: RawTokenInfo;
}

/** Sessions that are not for requests: the anchor, and one for administration. */
const RESERVED_SESSIONS = 2;

/** TOKEN_UNREACHABLE with what there is instead; with the candidates when several tokens match. */
export function findToken(cryptoki: Cryptoki, choice: TokenChoice): FoundToken {
  const asked = choice.serial === undefined ? `label "${choice.label}"` : `serial "${choice.serial}"`;
  if ((choice.serial === undefined) === (choice.label === undefined)) {
    throw unreachable('a token is chosen by serial or by label, one of the two');
  }
  const present: FoundToken[] = [];
  const silent: string[] = [];
  for (const slot of cryptoki.slots(true)) {
    try {
      const raw = cryptoki.tokenInfo(slot);
      if ((raw.flags & CKF.TOKEN_INITIALIZED) !== 0) present.push({ slot, raw });
    } catch (error) {
      // A slot that fails must not hide the others; it is named when none of them is the one.
      if (!(error instanceof CkrError)) throw error;
      silent.push(error.name);
    }
  }
  const matches = present.filter(({ raw }) =>
    choice.serial === undefined ? raw.label === choice.label : raw.serial === choice.serial,
  );
  const [match, ...others] = matches;
  if (match === undefined) {
    const failing = silent.length === 0 ? '' : `; slots that do not answer: ${silent.join(', ')}`;
    throw unreachable(`no token with ${asked}; present: ${list(present) || 'none'}${failing}`);
  }
  if (others.length > 0) throw unreachable(`${matches.length} tokens with ${asked}: ${list(matches)}`);
  return match;
}

function list(tokens: readonly FoundToken[]): string {
  return tokens.map(({ raw }) => `label "${raw.label}" serial "${raw.serial}"`).join('; ');
}

function unreachable(message: string): AdapterError {
  return new AdapterError('TOKEN_UNREACHABLE', message, { performed: 'no' });
}

export function describeToken(
  cryptoki: Cryptoki,
  { slot, raw }: FoundToken,
  profile: Profile,
  configured: { readonly sessions: number; readonly moduleSha256: string },
): TokenInfo {
  const listed = cryptoki.mechanisms(slot);
  const granted = raw.maxSessions === 0 ? configured.sessions : raw.maxSessions - RESERVED_SESSIONS;
  const flag = (bit: number) => (raw.flags & bit) !== 0;
  return {
    serial: raw.serial,
    label: raw.label,
    manufacturer: raw.manufacturer,
    model: raw.model,
    firmware: raw.firmware,
    hardware: raw.hardware,
    software: profile.software,
    pinCountLow: flag(CKF.USER_PIN_COUNT_LOW),
    pinFinalTry: flag(CKF.USER_PIN_FINAL_TRY),
    pinLocked: flag(CKF.USER_PIN_LOCKED),
    sessions: Math.max(1, Math.min(configured.sessions, granted)),
    algorithms: ALGORITHMS.filter((name) => !profile.lacks.includes(name) && listed.has(mechanismType(name))),
    moduleSha256: configured.moduleSha256,
  };
}
