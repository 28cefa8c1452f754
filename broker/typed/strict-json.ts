import { Failure } from '../keyuse/failure.ts';

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [name: string]: JsonValue;
}

export interface JsonBounds {
  /** What the errors call it: `claims`. */
  readonly what: string;
  readonly maxDepth: number;
  /** Refuse numbers that are not safe integers: another reader may round them to something else. */
  readonly integers: boolean;
}

/**
 * JSON (RFC 8259) of which every reader has the same understanding: UTF-8 without a byte order mark, no member name
 * twice (readers take the first or the last), no lone surrogates (RFC 7493, section 2.1). Values are frozen.
 *
 * `JSON.parse` cannot say that a name stood there twice, which is why this is here.
 *
 * @throws Failure REQUEST_INVALID; it quotes nothing of the input but an offset
 */
export function parseStrictJson(bytes: Uint8Array, bounds: JsonBounds): JsonValue {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new Failure('REQUEST_INVALID', `${bounds.what} are not UTF-8`, { cause });
  }
  return new Reader(text, bounds).whole();
}

export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
// Control characters must be escaped (RFC 8259, section 7).
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is excluded
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;

class Reader {
  readonly #text: string;
  readonly #bounds: JsonBounds;
  #at = 0;

  constructor(text: string, bounds: JsonBounds) {
    this.#text = text;
    this.#bounds = bounds;
  }

  whole(): JsonValue {
    const value = this.#value(1);
    this.#skipSpace();
    if (this.#at !== this.#text.length) throw this.#wrong('something after the value');
    return value;
  }

  #value(depth: number): JsonValue {
    if (depth > this.#bounds.maxDepth) throw this.#wrong('nested too deeply');
    this.#skipSpace();
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object(depth);
      case '[':
        return this.#array(depth);
      case '"':
        return this.#string();
      case 't':
        return this.#word('true', true);
      case 'f':
        return this.#word('false', false);
      case 'n':
        return this.#word('null', null);
      default:
        return this.#number();
    }
  }

  #object(depth: number): JsonObject {
    const found: Record<string, JsonValue> = {};
    this.#at++;
    if (this.#takes('}')) return Object.freeze(found);
    do {
      this.#skipSpace();
      const name = this.#string();
      if (Object.hasOwn(found, name)) throw this.#wrong('a member stands twice');
      // On a plain object this name is its prototype.
      if (name === '__proto__') throw this.#wrong('`__proto__` cannot be the name of a member');
      if (!this.#takes(':')) throw this.#wrong('no colon after a name');
      found[name] = this.#value(depth + 1);
    } while (this.#takes(','));
    if (!this.#takes('}')) throw this.#wrong('an object does not end');
    return Object.freeze(found);
  }

  #array(depth: number): readonly JsonValue[] {
    const found: JsonValue[] = [];
    this.#at++;
    if (this.#takes(']')) return Object.freeze(found);
    do found.push(this.#value(depth + 1));
    while (this.#takes(','));
    if (!this.#takes(']')) throw this.#wrong('an array does not end');
    return Object.freeze(found);
  }

  #string(): string {
    const value = JSON.parse(this.#match(STRING, 'not a string')) as string;
    if (!value.isWellFormed()) throw this.#wrong('a string holds half of a surrogate pair');
    return value;
  }

  #number(): number {
    const value = Number(this.#match(NUMBER, 'not a JSON value'));
    if (this.#bounds.integers && !Number.isSafeInteger(value)) {
      throw this.#wrong('a number is not an integer within ±(2^53 − 1): write it as a string');
    }
    if (!Number.isFinite(value)) throw this.#wrong('a number is too large');
    // Minus zero is zero: nobody who reads the result should have to wonder.
    return value === 0 ? 0 : value;
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#wrong('not a JSON value');
    this.#at += word.length;
    return value;
  }

  #match(pattern: RegExp, problem: string): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found === undefined || found === '') throw this.#wrong(problem);
    this.#at += found.length;
    return found;
  }

  #takes(character: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #skipSpace(): void {
    SPACE.lastIndex = this.#at;
    this.#at += SPACE.exec(this.#text)?.[0].length ?? 0;
  }

  #wrong(problem: string): Failure {
    return new Failure(
      'REQUEST_INVALID',
      `${this.#bounds.what} cannot be taken: ${problem}, near character ${this.#at}`,
    );
  }
}
