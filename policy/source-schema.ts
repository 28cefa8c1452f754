import { z } from 'zod';
import { formatPath, type YamlPath, type YamlSource } from './source.ts';
import { nearestName, quoteSource, type SourceIssue } from './source-issue.ts';

/** A value that a schema accepted, or everything it found wrong, each where it stands in the file. */
export type ReadSource<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly issues: readonly SourceIssue[] };

export interface ReadSourceOptions {
  /** Names that this version does not know yet and later ones do: refused by that reason, never ignored. */
  readonly notYet?: ReadonlySet<string> | undefined;
}

const MAX_ISSUES = 50;

export function readSource<S extends z.ZodType>(
  source: YamlSource,
  schema: S,
  options: ReadSourceOptions = {},
): ReadSource<z.output<S>> {
  const parsed = schema.safeParse(source.value);
  if (parsed.success) return { ok: true, value: parsed.data };
  return { ok: false, issues: zodIssuesToPositions(source, schema, parsed.error.issues, options) };
}

/** In the order of the file, at most 50. */
export function zodIssuesToPositions(
  source: YamlSource,
  schema: z.ZodType,
  issues: readonly z.core.$ZodIssue[],
  options: ReadSourceOptions = {},
): SourceIssue[] {
  const found: SourceIssue[] = [];
  for (const issue of issues) {
    if (found.length >= MAX_ISSUES) break;
    found.push(...convert(source, schema, issue, options).slice(0, MAX_ISSUES - found.length));
  }
  return found.sort((a, b) => a.line - b.line || a.column - b.column);
}

function convert(
  source: YamlSource,
  schema: z.ZodType,
  issue: z.core.$ZodIssue,
  options: ReadSourceOptions,
): SourceIssue[] {
  const path: YamlPath = issue.path.map((step) => (typeof step === 'number' ? step : String(step)));
  const name = path.length === 0 ? 'the file' : quoteSource(formatPath(path));
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = namesAt(schema, path);
      return issue.keys.slice(0, MAX_ISSUES).map((key) => {
        const at = [...path, key];
        if (options.notYet?.has(key)) {
          return source.issue(at, `${quoteSource(key)} is not supported by this version`, { at: 'key' });
        }
        const nearest = nearestName(key, known);
        const expected = nearest === undefined && known.length > 0 ? `one of ${known.join(', ')}` : undefined;
        return source.issue(at, `unknown name ${quoteSource(key)}`, { at: 'key', nearest, expected });
      });
    }
    case 'invalid_type': {
      const value = source.valueAt(path);
      const expected = TYPE_NAMES[issue.expected] ?? issue.expected;
      if (value === undefined) return [source.issue(path, `${name} is missing`, { at: 'key', expected })];
      const quotes = expected === 'text' && (typeof value === 'number' || typeof value === 'boolean');
      const advice = quotes ? '; put it in quotes' : '';
      return [source.issue(path, `${name} is ${describe(value)}${advice}`, { expected })];
    }
    case 'invalid_value': {
      const value = source.valueAt(path);
      const values = issue.values.map(String);
      const expected = values.length === 1 ? values[0] : `one of ${values.join(', ')}`;
      if (value === undefined) return [source.issue(path, `${name} is missing`, { at: 'key', expected })];
      if (typeof value !== 'string')
        return [source.issue(path, `${name} is ${describe(value)}`, { expected })];
      const message = options.notYet?.has(value)
        ? `${quoteSource(value)} is not supported by this version`
        : `${name} is ${quoteSource(value)}`;
      return [source.issue(path, message, { expected, nearest: nearestName(value, values) })];
    }
    case 'too_small':
    case 'too_big': {
      const bound = issue.code === 'too_small' ? issue.minimum : issue.maximum;
      const few = issue.code === 'too_small';
      const unit = UNITS[issue.origin] ?? '';
      return [
        source.issue(path, `${name} is too ${few ? 'small' : 'large'}`, {
          expected: `at ${few ? 'least' : 'most'} ${bound}${unit}`,
        }),
      ];
    }
    case 'invalid_key':
      return [source.issue(path, `${name} is not a name that can be used here`, { at: 'key' })];
    default:
      return [source.issue(path, `${name} ${issue.message}`)];
  }
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'names and values',
  record: 'names and values',
};
const UNITS: Readonly<Record<string, string>> = { string: ' characters', array: ' entries' };

function describe(value: unknown): string {
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a group of names and values';
  if (typeof value === 'string') return `the text ${quoteSource(value)}`;
  return `${typeof value === 'boolean' ? '' : 'the number '}${String(value)}`;
}

/** The names that a schema knows at `path`; empty where it takes any. */
function namesAt(schema: z.ZodType, path: YamlPath): string[] {
  let at: unknown = schema;
  for (const step of [...path, undefined]) {
    at = unwrap(at);
    if (step === undefined) break;
    if (at instanceof z.ZodObject) at = at.shape[step];
    else if (at instanceof z.ZodArray) at = at.element;
    else if (at instanceof z.ZodRecord) at = at.valueType;
    else return [];
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

function unwrap(schema: unknown): unknown {
  let at = schema;
  for (;;) {
    if (at instanceof z.ZodOptional || at instanceof z.ZodDefault || at instanceof z.ZodPrefault)
      at = at.unwrap();
    else if (at instanceof z.ZodPipe) at = at.in;
    else return at;
  }
}
