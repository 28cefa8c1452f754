import { Composer, CST, isMap, isScalar, isSeq, Lexer, LineCounter, type Node, Parser } from 'yaml';
import { quoteSource, type SourceIssue } from './source-issue.ts';

/**
 * YAML as people write configuration and policy in it: YAML 1.2, core schema, one document, nothing that expands.
 *
 * The text is untrusted until it is accepted: size and depth are bounded while the parser runs, anchors, aliases,
 * tags and directives are refused (no billion laughs, no types by name), and names are strings without duplicates.
 */
export interface YamlSourceOptions {
  /** As the person named it; stands in every issue. */
  readonly file?: string | undefined;
  /** Default 1 MiB. */
  readonly maxBytes?: number | undefined;
}

export type YamlPath = readonly (string | number)[];

export type ParsedYaml =
  | { readonly ok: true; readonly source: YamlSource }
  | { readonly ok: false; readonly issues: readonly SourceIssue[] };

const DEFAULT_MAX_BYTES = 1024 * 1024;
export const MAX_YAML_DEPTH = 32;
const MAX_ISSUES = 20;

// C0 but tab, line feed and carriage return; DEL; C1; and what makes text read otherwise than it is written
// (bidirectional overrides and isolates).
// biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
const FORBIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufeff]/;

/** An accepted file: its value, and where each part of it stands. */
export class YamlSource {
  readonly file: string | undefined;
  /** Plain objects without prototype, arrays, strings, finite numbers, booleans, null. */
  readonly value: unknown;
  readonly #root: Node | null;
  readonly #lines: LineCounter;
  readonly #text: string;

  constructor(file: string | undefined, value: unknown, root: Node | null, lines: LineCounter, text: string) {
    this.file = file;
    this.value = value;
    this.#root = root;
    this.#lines = lines;
    this.#text = text;
  }

  /**
   * An issue at `path`: at the value there or, with `at: 'key'`, at its name. A path that does not exist (something
   * is missing) is placed at the nearest part around it that does.
   */
  issue(
    path: YamlPath,
    message: string,
    hints: { at?: 'key' | 'value'; expected?: string | undefined; nearest?: string | undefined } = {},
  ): SourceIssue {
    const { line, col } = this.#lines.linePos(this.#offset(path, hints.at ?? 'value'));
    return {
      file: this.file,
      line: Math.max(line, 1),
      column: Math.max(col, 1),
      path: formatPath(path),
      message,
      ...(hints.expected === undefined ? {} : { expected: hints.expected }),
      ...(hints.nearest === undefined ? {} : { nearest: hints.nearest }),
    };
  }

  /**
   * An issue inside the text at `path`, `offset` code units from its start. Exact where the file has the text as it
   * is read, so on one line and without escapes; otherwise at the start of the text.
   */
  issueWithin(path: YamlPath, offset: number, message: string): SourceIssue {
    const value = this.valueAt(path);
    let start = this.#offset(path, 'value');
    if (typeof value === 'string') {
      if (/["']/.test(this.#text.charAt(start)) && !this.#text.startsWith(value, start)) start += 1;
      if (!value.includes('\n') && this.#text.startsWith(value, start))
        start += Math.min(offset, value.length);
      else start = this.#offset(path, 'value');
    }
    const { line, col } = this.#lines.linePos(start);
    return {
      file: this.file,
      line: Math.max(line, 1),
      column: Math.max(col, 1),
      path: formatPath(path),
      message,
    };
  }

  /** The value at `path`; undefined where there is none. */
  valueAt(path: YamlPath): unknown {
    let value: unknown = this.value;
    for (const step of path) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
      value = (value as Readonly<Record<string | number, unknown>>)[step];
    }
    return value;
  }

  #offset(path: YamlPath, at: 'key' | 'value'): number {
    let node: Node | null = this.#root;
    let offset = node?.range?.[0] ?? 0;
    for (const [depth, step] of path.entries()) {
      let next: Node | null = null;
      let key: Node | undefined;
      if (isMap(node)) {
        const pair = node.items.find((item) => isScalar(item.key) && item.key.value === step);
        key = pair?.key as Node | undefined;
        next = (pair?.value as Node | null | undefined) ?? null;
      } else if (isSeq(node) && typeof step === 'number') {
        next = (node.items[step] as Node | undefined) ?? null;
      }
      if (key === undefined && next === null) return offset;
      const isLast = depth === path.length - 1;
      offset =
        (isLast && at === 'key' ? key : undefined)?.range?.[0] ??
        next?.range?.[0] ??
        key?.range?.[0] ??
        offset;
      // Something missing inside a named part is reported at the name.
      if (!isLast && key?.range) offset = key.range[0];
      node = next;
    }
    return offset;
  }
}

export function formatPath(path: YamlPath): string {
  return path
    .map((step, i) => (typeof step === 'number' ? `[${step}]` : `${i === 0 ? '' : '.'}${step}`))
    .join('');
}

/** Never throws for anything the bytes hold. */
export function parseYamlSource(input: Uint8Array | string, options: YamlSourceOptions = {}): ParsedYaml {
  const { file } = options;
  const maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
  const refuse = (line: number, column: number, message: string): ParsedYaml => ({
    ok: false,
    issues: [{ file, line, column, path: '', message }],
  });

  if (input.length > maxBytes) return refuse(1, 1, `the file is larger than ${maxBytes} bytes`);
  const text = typeof input === 'string' ? input : decodeUtf8(input);
  if (text === undefined) return refuse(1, 1, 'the file is not UTF-8 text');

  const lines = new LineCounter();
  const at = (offset: number, message: string): ParsedYaml => {
    const { line, col } = lines.linePos(offset);
    return refuse(Math.max(line, 1), Math.max(col, 1), message);
  };

  const forbidden = FORBIDDEN.exec(text);
  if (forbidden !== null) {
    const before = text.slice(0, forbidden.index).split('\n');
    const code = forbidden[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
    return refuse(
      before.length,
      (before.at(-1)?.length ?? 0) + 1,
      `the invisible character U+${code} is not allowed here`,
    );
  }

  // The parser is fed by hand so that depth is bounded before anything recurses, and so that what is never
  // allowed is refused where it stands.
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  const tokens: CST.Token[] = [];
  let isScalarNext = false;
  for (const lexeme of new Lexer().lex(text)) {
    const type = isScalarNext ? 'scalar' : CST.tokenType(lexeme);
    isScalarNext = !isScalarNext && lexeme === CST.SCALAR;
    const offset = parser.offset;
    switch (type) {
      case 'anchor':
      case 'alias':
        return at(
          offset,
          'anchors (`&`) and aliases (`*`) are not allowed; put text that starts with them in quotes',
        );
      case 'tag':
        return at(offset, 'tags (`!`) are not allowed; put text that starts with `!` in quotes');
      case 'directive-line':
        return at(offset, 'directives (`%`) are not allowed');
      default:
        break;
    }
    for (const token of parser.next(lexeme)) {
      // The first is enough: text that is no YAML at all has one per character.
      if (token.type === 'error') return at(token.offset, `not YAML: ${token.message}`);
      tokens.push(token);
    }
    if (parser.stack.length > 2 * MAX_YAML_DEPTH)
      return at(offset, `nested deeper than ${MAX_YAML_DEPTH} levels`);
  }
  for (const token of parser.end()) tokens.push(token);

  const composer = new Composer({
    version: '1.2',
    schema: 'core',
    prettyErrors: false,
    // Its check compares every pair of names; `toPlain` below does it with a set.
    uniqueKeys: false,
    stringKeys: false,
    logLevel: 'silent',
  });
  const documents = [...composer.compose(tokens, true, text.length)];
  const findings = documents.flatMap((document) => [...document.errors, ...document.warnings]);
  if (findings.length > 0) {
    return {
      ok: false,
      issues: findings.slice(0, MAX_ISSUES).map((finding) => {
        const { line, col } = lines.linePos(finding.pos[0]);
        return {
          file,
          line: Math.max(line, 1),
          column: Math.max(col, 1),
          path: '',
          message: `not YAML: ${finding.message}`,
        };
      }),
    };
  }
  const [document, second] = documents;
  if (second !== undefined) return at(second.range[0], 'only one document is allowed in a file');
  const root = (document?.contents as Node | null | undefined) ?? null;
  if (root === null || (isScalar(root) && root.value === null)) return refuse(1, 1, 'the file is empty');

  const issues: SourceIssue[] = [];
  const value = toPlain(root, [], (offset, path, message) => {
    if (issues.length >= MAX_ISSUES) return;
    const { line, col } = lines.linePos(offset);
    issues.push({ file, line: Math.max(line, 1), column: Math.max(col, 1), path: formatPath(path), message });
  });
  return issues.length > 0
    ? { ok: false, issues }
    : { ok: true, source: new YamlSource(file, value, root, lines, text) };
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

// Recursion is bounded by MAX_YAML_DEPTH.
function toPlain(
  node: unknown,
  path: YamlPath,
  report: (offset: number, path: YamlPath, message: string) => void,
): unknown {
  if (isMap(node)) {
    const object: Record<string, unknown> = Object.create(null);
    for (const { key, value } of node.items) {
      const offset = (isScalar(key) ? key.range?.[0] : undefined) ?? node.range?.[0] ?? 0;
      if (!isScalar(key) || typeof key.value !== 'string') {
        report(offset, path, 'a name must be text; put it in quotes');
        continue;
      }
      const at = [...path, key.value];
      if (FORBIDDEN.test(key.value)) report(offset, path, 'a name has an invisible character');
      else if (Object.hasOwn(object, key.value))
        report(offset, at, `${quoteSource(key.value)} is given twice`);
      else object[key.value] = toPlain(value, at, report);
    }
    return object;
  }
  if (isSeq(node)) return node.items.map((item, i) => toPlain(item, [...path, i], report));
  if (!isScalar(node)) return null;
  const { value } = node;
  const offset = node.range?.[0] ?? 0;
  if (
    typeof value === 'number' &&
    (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value)))
  ) {
    report(offset, path, 'the number is out of range; if it is text, put it in quotes');
  }
  if (typeof value === 'string' && FORBIDDEN.test(value))
    report(offset, path, 'the text has an invisible character');
  return value;
}
