/**
 * What an expression computes with. Everything that a request brings is copied into fresh maps and lists, bounded in
 * size, so that an expression can neither change what others see nor be made expensive by whoever asks.
 */
import type { FactValue, KeyUseQuestion } from '../decision.ts';

/** Raised for facts that are too large or not of a known kind: an expression that looks at them fails. */
export class FactsError extends Error {
  override readonly name = 'FactsError';
}

export const MAX_FACT_STRING = 8192;
export const MAX_FACT_ENTRIES = 256;
/** Of all facts of one request together: values, and characters of text. */
export const MAX_FACT_VALUES = 4096;
export const MAX_FACT_CHARACTERS = 65_536;
const MAX_FACT_DEPTH = 20;
const MAX_INT = 2n ** 63n - 1n;

/** What CEL calls a map: own names only, whatever they are (`constructor` is a claim like any other). */
type CelMap = ReadonlyMap<string, unknown>;
/** Makes a CEL duration of whole seconds. */
export type DurationOf = (seconds: bigint) => unknown;

export class RequestFacts {
  readonly operation: string;
  readonly algorithm: string;
  readonly bytes: bigint;
  readonly content: string;
  readonly version: bigint;
  readonly #typed: KeyUseQuestion['circumstances'];
  readonly #durationOf: DurationOf;
  #map: CelMap | undefined;

  constructor(question: KeyUseQuestion, durationOf: DurationOf) {
    const { circumstances } = question;
    this.operation = question.operation;
    this.algorithm = boundedText(question.algorithm);
    this.bytes = BigInt(circumstances?.bytes ?? 0);
    this.content = circumstances?.content ?? 'none';
    this.version = BigInt(circumstances?.version ?? 0);
    this.#typed = circumstances;
    this.#durationOf = durationOf;
  }

  get jwt(): CelMap | undefined {
    return this.#typedFacts('jwt');
  }

  get x509(): CelMap | undefined {
    return this.#typedFacts('x509');
  }

  get dsse(): CelMap | undefined {
    return this.#typedFacts('dsse');
  }

  #typedFacts(type: 'jwt' | 'x509' | 'dsse'): CelMap | undefined {
    const typed = this.#typed?.typed;
    if (typed?.type !== type) return undefined;
    if (this.#map === undefined) {
      const map = new FactsCopy().map(typed.facts, 0);
      // Every type says for how long it will be valid in whole seconds.
      const lifetime = map.get('lifetime');
      if (typeof lifetime === 'bigint') map.set('lifetime', this.#durationOf(lifetime));
      this.#map = map;
    }
    return this.#map;
  }
}

export class WorkloadFacts {
  readonly id: string;
  readonly trustDomain: string;
  /** Segments of the path. */
  readonly path: readonly string[];

  constructor(spiffeId: string) {
    const [trustDomain = '', ...path] = spiffeId.slice('spiffe://'.length).split('/');
    this.id = spiffeId;
    this.trustDomain = trustDomain;
    this.path = path;
  }
}

export class KeyFacts {
  /** Empty for `random`. */
  readonly name: string;
  readonly path: readonly string[];

  constructor(name: string) {
    this.name = name;
    this.path = name === '' ? [] : name.split('/');
  }
}

export class ConnectionFacts {
  /** Without the port; empty when unknown. */
  readonly peerAddress: string;

  constructor(peerAddress: string) {
    this.peerAddress = boundedText(peerAddress);
  }
}

function boundedText(text: string): string {
  if (text.length > MAX_FACT_STRING) throw new FactsError('the request holds a text that is too long');
  return text;
}

class FactsCopy {
  #values = 0;
  #characters = 0;

  map(facts: { readonly [name: string]: FactValue }, depth: number): Map<string, unknown> {
    const entries = Object.entries(facts);
    this.#bound(entries.length, depth);
    return new Map(entries.map(([name, value]) => [this.#text(name), this.#value(value, depth + 1)]));
  }

  #value(value: FactValue, depth: number): unknown {
    this.#values += 1;
    if (this.#values > MAX_FACT_VALUES) throw new FactsError('the request holds too many values');
    switch (typeof value) {
      case 'string':
        return this.#text(value);
      case 'number':
      case 'boolean':
        return value;
      case 'bigint':
        if (value > MAX_INT || value < -MAX_INT - 1n) throw new FactsError('a number is out of range');
        return value;
      case 'object':
        return this.#object(value, depth);
      default:
        throw new FactsError('the request holds a value of an unknown kind');
    }
  }

  #object(value: FactValue & (object | null), depth: number): unknown {
    if (value === null) return null;
    if (value instanceof Date) return new Date(value);
    if (Array.isArray(value)) {
      const list = value as readonly FactValue[];
      this.#bound(list.length, depth);
      return list.map((one) => this.#value(one, depth + 1));
    }
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) {
      throw new FactsError('the request holds a value of an unknown kind');
    }
    return this.map(value as { readonly [name: string]: FactValue }, depth);
  }

  #text(text: string): string {
    this.#characters += text.length;
    if (this.#characters > MAX_FACT_CHARACTERS) throw new FactsError('the request holds too much text');
    return boundedText(text);
  }

  #bound(entries: number, depth: number): void {
    if (entries > MAX_FACT_ENTRIES) throw new FactsError('the request holds a list that is too long');
    if (depth > MAX_FACT_DEPTH) throw new FactsError('the request is nested too deeply');
  }
}
