/**
 * What is generated from the schemas of lastmile.yaml and of policies: JSON Schema for editors, and the reference.
 *
 *   node broker/config-reference.ts           writes the files
 *   node broker/config-reference.ts --check   exits 1 when one of them is not what it would write
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { policySchema } from '../policy/schema.ts';
import { configSchema } from './config-schema.ts';

export interface ReferenceFile {
  /** From the root of the repository. */
  readonly path: string;
  readonly content: string;
}

interface SchemaNode {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly required?: readonly string[];
  readonly items?: SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
}

export function referenceFiles(): readonly ReferenceFile[] {
  const config = jsonSchema(configSchema, 'lastmile.yaml');
  const policy = jsonSchema(policySchema, 'Lastmile policy');
  return [
    { path: 'deploy/lastmile.schema.json', content: `${JSON.stringify(config, null, 2)}\n` },
    { path: 'deploy/policy.schema.json', content: `${JSON.stringify(policy, null, 2)}\n` },
    { path: 'deploy/configuration.md', content: configurationMarkdown(config, policy) },
  ];
}

/** Files that are missing or differ from what the schemas say. */
export function outdatedReferenceFiles(root: URL): readonly string[] {
  return referenceFiles()
    .filter(({ path, content }) => readIfThere(new URL(path, root)) !== content)
    .map(({ path }) => path);
}

function jsonSchema(schema: z.ZodType, title: string): SchemaNode {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: 'input' });
  return { $schema, title, ...withoutSafeIntegerBounds(rest) } as SchemaNode;
}

// zod bounds every whole number by what a double holds exactly; that is noise in a schema for editors.
function withoutSafeIntegerBounds(node: unknown): object {
  const plain: unknown = JSON.parse(
    JSON.stringify(node, (name, value: unknown) =>
      name === 'maximum' && value === Number.MAX_SAFE_INTEGER ? undefined : value,
    ),
  );
  return typeof plain === 'object' && plain !== null ? plain : {};
}

function configurationMarkdown(config: SchemaNode, policy: SchemaNode): string {
  return `# Configuration

Generated from the schemas by \`node broker/config-reference.ts\`; a test fails when it is out of date. For completion in an
editor, name the schema in the first line of a file:
\`# yaml-language-server: $schema=…/deploy/lastmile.schema.json\`, or \`policy.schema.json\`.

Both files are YAML 1.2, UTF-8, one document, without anchors, aliases and tags. Unknown names are refused.

## lastmile.yaml

Relative paths start at the directory of the file. Durations are written \`500ms\`, \`10s\`, \`15m\`, \`2h\`, \`1d\`; sizes \`512B\`,
\`64KiB\`, \`1MiB\`, \`2GiB\`. Files with secrets must be readable by nobody but their owner, which is root or the user that
starts the broker.

${table(config)}
## Policy

What no rule allows is denied; a deny rule that matches wins. No identity may match both a rule that allows key use and a
role, or be an administrator of \`lastmile.yaml\`. A deny rule that names algorithms also matches a request whose algorithm is
not known.

${table(policy)}`;
}

function table(schema: SchemaNode): string {
  const rows = [...describe(schema, '')].map((cells) => `| ${cells.map(escapeCell).join(' | ')} |\n`);
  return `| Name | Value | Default | Meaning |\n| --- | --- | --- | --- |\n${rows.join('')}`;
}

function* describe(schema: SchemaNode, prefix: string): Generator<readonly [string, string, string, string]> {
  for (const [name, node] of Object.entries(schema.properties ?? {})) {
    const inner = node.items ?? node;
    const path = `${prefix}${name}${node.items?.properties === undefined ? '' : '[]'}`;
    const fallback =
      node.default === undefined || node.type === 'object' ? '' : `\`${JSON.stringify(node.default)}\``;
    const required = schema.required?.includes(name) === true ? 'required' : fallback;
    yield [`\`${path}\``, kind(node), required, node.description ?? inner.description ?? ''];
    yield* describe(inner, `${path}.`);
  }
}

function kind(node: SchemaNode): string {
  if (node.const !== undefined) return `\`${String(node.const)}\``;
  if (node.enum !== undefined) return node.enum.map((value) => `\`${String(value)}\``).join(', ');
  if (node.anyOf !== undefined) return node.anyOf.map(kind).join(', or ');
  if (node.type === 'array')
    return `list of ${node.items?.properties === undefined ? kind(node.items ?? {}) : 'groups'}`;
  if (node.type === 'object') return node.properties === undefined ? 'names and values' : 'group';
  if (node.type === 'boolean') return '`true` or `false`';
  return node.type === 'string' ? 'text' : 'whole number';
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

function readIfThere(file: URL): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

if (import.meta.main) {
  const root = new URL('../', import.meta.url);
  if (process.argv.includes('--check')) {
    const outdated = outdatedReferenceFiles(root);
    if (outdated.length > 0) {
      process.stderr.write(`out of date: ${outdated.join(', ')}; run \`node broker/config-reference.ts\`\n`);
      process.exitCode = 1;
    }
  } else {
    for (const { path, content } of referenceFiles()) writeFileSync(new URL(path, root), content);
  }
}
