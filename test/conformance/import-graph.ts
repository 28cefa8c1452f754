import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

/**
 * Who may import whom. The rules are a list of what is allowed: a module without a rule may import nothing, and
 * a new folder fails until somebody has decided where it stands.
 *
 * Type-only imports count: a type is a promise too. Child processes are started by `new URL('./x.ts', import.meta.url)`,
 * which is no import: that a process cannot reach into another is what the arrows are about.
 */

/** One import statement, as written. */
export interface Arrow {
  /** Path in the repository. */
  readonly from: string;
  /** Path in the repository, or the bare specifier of a package or built-in module. */
  readonly to: string;
}

interface Rule {
  /** Paths and path prefixes (ending in `/`) of the repository. */
  readonly local: readonly string[];
  readonly packages: readonly string[];
  /** `any`, or the built-in modules that are allowed. */
  readonly builtins: 'any' | readonly string[];
}

const CONTRACT = ['broker/proto/', 'broker/telemetry/'] as const;
const ADAPTER = 'hsm-adapters/adapter.ts';
const FAILURE = 'broker/keyuse/failure.ts';
const IDENTITY = 'broker/identity/identity.ts';
/** What is signed and how it is checked: an approver's own command line shows the very document that it signs. */
const ACT = ['broker/approvals/act.ts', 'broker/approvals/vote-signature.ts'] as const;
/** What key use knows of typed signing: that something is built, and not how. */
const TYPED_REQUEST = 'broker/typed/typed-request.ts';

/** The longest prefix of a file's path decides. */
export const RULES: Readonly<Record<string, Rule>> = {
  'policy/': { local: ['policy/'], packages: ['@marcbachmann/cel-js', 're2js', 'zod', 'yaml'], builtins: [] },

  'hsm-adapters/': {
    local: [
      'hsm-adapters/adapter.ts',
      'hsm-adapters/frames/',
      'hsm-adapters/profiles/',
      'hsm-adapters/supervisor/',
    ],
    packages: [],
    builtins: 'any',
  },
  'hsm-adapters/pkcs11/': { local: ['hsm-adapters/'], packages: ['graphene-pk11'], builtins: 'any' },
  'hsm-adapters/pkcs11/cryptoki.ts': { local: ['hsm-adapters/'], packages: ['pkcs11js'], builtins: 'any' },

  'broker/telemetry/': {
    local: ['broker/telemetry/'],
    packages: ['@opentelemetry/*', 'pino'],
    builtins: 'any',
  },
  'broker/proto/': {
    local: ['broker/proto/'],
    packages: ['protobufjs', '@grpc/grpc-js', '@grpc/proto-loader'],
    builtins: 'any',
  },
  'broker/audit/tlog/': { local: ['broker/audit/tlog/'], packages: [], builtins: ['node:crypto'] },
  'broker/audit/': {
    local: ['broker/audit/', 'policy/', FAILURE, ...CONTRACT],
    packages: [],
    builtins: 'any',
  },
  'broker/identity/': {
    local: ['broker/identity/', 'policy/', ...CONTRACT],
    packages: ['@peculiar/asn1-schema', '@peculiar/asn1-x509', 'jose'],
    builtins: 'any',
  },
  'broker/state/': {
    local: ['broker/state/', 'policy/', ADAPTER, ...CONTRACT],
    packages: ['rate-limiter-flexible'],
    builtins: 'any',
  },
  'broker/approvals/': {
    local: ['broker/approvals/', 'broker/audit/', 'broker/state/', 'policy/', FAILURE, IDENTITY, ...CONTRACT],
    packages: ['jose', '@simplewebauthn/server'],
    builtins: 'any',
  },
  'broker/keyuse/': {
    local: [
      'broker/keyuse/',
      'broker/audit/',
      'broker/approvals/',
      'broker/state/',
      'policy/',
      TYPED_REQUEST,
      ADAPTER,
      IDENTITY,
      ...CONTRACT,
    ],
    packages: ['jose', 'rate-limiter-flexible', '@noble/curves'],
    builtins: 'any',
  },
  'broker/typed/': {
    local: [
      'broker/typed/',
      'broker/keyuse/',
      'broker/audit/',
      'broker/approvals/',
      'broker/state/',
      'policy/',
      ADAPTER,
      IDENTITY,
      ...CONTRACT,
    ],
    packages: ['jose', '@peculiar/asn1-schema', '@peculiar/asn1-x509'],
    builtins: 'any',
  },
  'broker/api/': {
    local: [
      'broker/api/',
      'broker/keyuse/',
      'broker/typed/',
      'broker/approvals/',
      'broker/audit/',
      'broker/identity/',
      'policy/',
      ...CONTRACT,
    ],
    packages: ['@grpc/grpc-js', 'protobufjs'],
    builtins: 'any',
  },
  'broker/gateway/': {
    local: [
      'broker/gateway/',
      'broker/identity/',
      'policy/spiffe-id.ts',
      'hsm-adapters/frames/',
      ...CONTRACT,
    ],
    packages: ['@grpc/grpc-js', 'protobufjs'],
    builtins: 'any',
  },
  'broker/courier/': {
    local: ['broker/courier/', 'hsm-adapters/frames/', ...CONTRACT],
    packages: [],
    builtins: 'any',
  },
  'broker/client/': {
    local: ['broker/client/', 'policy/spiffe-id.ts', ...CONTRACT],
    packages: ['@grpc/grpc-js', '@grpc/proto-loader', 'jose'],
    builtins: 'any',
  },
  'broker/cli/': {
    local: ['broker/cli/', 'broker/client/', 'broker/audit/tlog/', 'policy/', ...ACT, ...CONTRACT],
    packages: ['commander', 'zod'],
    builtins: 'any',
  },
  'broker/console/': {
    local: ['broker/console/', 'broker/client/', 'broker/audit/tlog/', 'policy/', ...CONTRACT],
    packages: [],
    builtins: 'any',
  },
  'broker/init/': {
    local: ['broker/init/', 'policy/spiffe-id.ts', ...CONTRACT],
    packages: ['@peculiar/x509', 'reflect-metadata'],
    builtins: 'any',
  },
  'broker/config': {
    local: [
      'broker/config',
      // What lastmile.yaml can say of destinations.
      'broker/courier/courier-frames.ts',
      'broker/courier/notice.ts',
      'policy/',
      ADAPTER,
      'hsm-adapters/profiles/profiles.ts',
      ...CONTRACT,
    ],
    packages: ['zod', 'yaml'],
    builtins: 'any',
  },
  // The composition root: what it may import is everything but the native side.
  'broker/main': {
    local: [
      'broker/',
      'policy/',
      'hsm-adapters/adapter.ts',
      'hsm-adapters/frames/',
      'hsm-adapters/profiles/',
      'hsm-adapters/supervisor/',
    ],
    packages: [],
    builtins: 'any',
  },
};

/** Modules that only some may import, whatever the rules of the importer allow. */
const RESERVED: readonly { readonly target: string; readonly importers: readonly string[] }[] = [
  { target: 'broker/main', importers: ['broker/main'] },
  { target: 'broker/init/', importers: ['broker/init/', 'broker/main'] },
  { target: 'broker/config', importers: ['broker/config', 'broker/main', 'broker/init/'] },
];

/** Why this arrow is wrong, or undefined. */
export function objection(arrow: Arrow): string | undefined {
  for (const { target, importers } of RESERVED) {
    if (arrow.to.startsWith(target) && !importers.some((importer) => arrow.from.startsWith(importer))) {
      return `only ${importers.join(', ') || 'nobody'} may import ${target}`;
    }
  }
  const prefix = Object.keys(RULES)
    .filter((candidate) => arrow.from.startsWith(candidate))
    .reduce((longest, candidate) => (candidate.length > longest.length ? candidate : longest), '');
  const rule = RULES[prefix];
  if (rule === undefined) return 'no rule covers the importing file: add one';
  if (arrow.to.startsWith('node:')) {
    if (rule.builtins === 'any' || rule.builtins.includes(arrow.to)) return undefined;
    return `${prefix} may import ${rule.builtins.join(', ') || 'no'} built-in modules`;
  }
  if (isLocal(arrow.to)) {
    if (rule.local.some((allowed) => arrow.to.startsWith(allowed))) return undefined;
    return `${prefix} may import ${rule.local.join(', ')}`;
  }
  if (rule.packages.some((allowed) => matchesPackage(arrow.to, allowed))) return undefined;
  return `${prefix} may import ${rule.packages.join(', ') || 'no'} packages`;
}

function isLocal(to: string): boolean {
  return /^(broker|policy|hsm-adapters|test|bench|deploy)\//.test(to) || to.endsWith('.ts');
}

function matchesPackage(specifier: string, allowed: string): boolean {
  if (allowed.endsWith('/*')) return specifier.startsWith(allowed.slice(0, -1));
  return specifier === allowed || specifier.startsWith(`${allowed}/`);
}

// The formatter puts every import and export statement at the start of a line, which keeps text inside comments
// and strings from being read as one. Type positions may say `import('x').T`; that is an arrow as well.
const STATEMENT = /^(?:import|export)\b(?:[^;'"`]*?\bfrom)?\s*['"]([^'"\n]+)['"]/gm;
const CALL = /(?<![.\w$])(?:import|require)\s*\(\s*(['"])([^'"\n]+)\1\s*\)/g;
const COMPUTED = /(?<![.\w$])(?:import|require)\s*\(\s*(?!['"])/;

/** The arrows of one file. @throws Error for an import whose target is computed: no rule could judge it */
export function arrowsOf(from: string, source: string): readonly Arrow[] {
  const code = withoutComments(source);
  if (COMPUTED.test(code)) throw new Error(`${from} imports something computed: name it in a string literal`);
  const specifiers = [
    ...[...code.matchAll(STATEMENT)].map((match) => match[1] ?? ''),
    ...[...code.matchAll(CALL)].map((match) => match[2] ?? ''),
  ];
  return specifiers.map((specifier) => ({
    from,
    to: specifier.startsWith('.') ? posix.join(posix.dirname(from), specifier) : specifier,
  }));
}

/** Whole-line and block comments at the start of a line: what a formatted file has; others cannot look like an import. */
function withoutComments(source: string): string {
  return source
    .replace(/^\s*\/\*[\s\S]*?\*\//gm, '')
    .replace(/^\s*\/\/.*$/gm, '')
    .replace(/\s\/\/ .*$/gm, '');
}

/** All product source below the repository: no tests, no generated message types. */
export function productFiles(root: string): readonly string[] {
  return ['broker', 'policy', 'hsm-adapters'].flatMap((top) =>
    readdirSync(join(root, top), { recursive: true, encoding: 'utf8' })
      .map((path) => posix.join(top, path.replaceAll('\\', '/')))
      .filter(
        (path) => path.endsWith('.ts') && !path.endsWith('.test.ts') && !path.startsWith('broker/proto/gen/'),
      ),
  );
}

export function readArrows(root: string): readonly Arrow[] {
  return productFiles(root).flatMap((path) => arrowsOf(path, readFileSync(join(root, path), 'utf8')));
}
