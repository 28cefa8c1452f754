import {
  ADMINISTRATOR,
  AUDITOR,
  BROKER_DNS_NAME,
  BROKER_ID,
  CLIENTS,
  TRUST_DOMAIN,
} from './demo-identities.ts';

/** The text files of a development instance. They are written once; from then on they belong to whoever edits them. */

export interface InstanceTexts {
  readonly workloadsPort: number;
  readonly controlPort: number;
  readonly module: string;
  readonly tokens: readonly string[];
  readonly uidBase: number;
}

export function tokenLabel(token: string): string {
  return `lastmile-${token}`;
}

/**
 * Paths are relative to the working directory of the token's worker, so that the instance can be moved.
 * SoftHSM2 writes its objects with mode 0600: they belong to the user that the worker runs as.
 */
export const SOFTHSM2_CONF = `directories.tokendir = objects
objectstore.backend = file
log.level = ERROR
slots.removable = false
slots.mechanisms = ALL
library.reset_on_fork = false
`;

export const DEVELOPMENT_MARKER = `This certificate authority and the PINs beside it were made by \`lastmile init\` for development: its private key
is a file. A configuration with \`profile: production\` refuses it.
`;

export function lastmileYaml(texts: InstanceTexts): string {
  return `# Lastmile: configuration of this instance. Paths are relative to this file. Unknown keys are refused.
# Every key is described in deploy/configuration.md; secrets stand in files that are named here, never in here.
version: 1

# development: listens on loopback only, and shows everywhere that this is not production.
profile: development

# Who can connect: workloads whose X.509-SVID chains to these roots and is of this trust domain.
trust_domain: ${TRUST_DOMAIN}
trust_bundle: pki/ca.crt

# The broker's own X.509-SVID, ${BROKER_ID}. Clients without SPIFFE check the
# DNS name, which no other certificate of this trust domain has.
broker:
  certificate: pki/broker.crt
  key: pki/broker.key
  dns_name: ${BROKER_DNS_NAME}

listen:
  workloads: 127.0.0.1:${texts.workloadsPort}
  control: 127.0.0.1:${texts.controlPort}
  # Processes that share the workloads' port.
  gateways: 1

# May call every method of Admin and Audit, whatever the policy says: the one who can repair the policy.
# Everybody else who operates or audits is a role in the policy.
administrators:
  - ${ADMINISTRATOR}

# Read again when it changes and on SIGHUP. A file with a mistake is refused whole, and the old policy stays.
policy: policy.yaml

# Key catalog, freezes, login attempts, counts of encryptions.
state: state

audit:
  directory: audit
  # The first line of every checkpoint. It names this log for good.
  origin: ${TRUST_DOMAIN}/lastmile/development

# A key that is on several tokens is used on whichever is healthy and least busy.
tokens:
${texts.tokens.map((token) => tokenYaml(token, texts.module)).join('')}
# Each process drops to a user of its own when the broker is started as root; \`lastmile status\` says whether it did.
isolation:
  mode: auto
  uid_base: ${texts.uidBase}
`;
}

function tokenYaml(token: string, module: string): string {
  return `  - name: ${token}
    module: ${JSON.stringify(module)}
    profile: softhsm2
    # By label or serial, never by slot number: slots change their order.
    label: ${tokenLabel(token)}
    pin: { file: secrets/token-${token}.pin }
    sessions: 4
    directory: tokens/${token}
    environment: { SOFTHSM2_CONF: softhsm2.conf }
`;
}

export const POLICY_YAML = `# Who may do what. Everything that no rule allows is denied; a rule with \`effect: deny\` wins over all others.
#
# Patterns: \`*\` stands for one path segment, \`**\` for any number of them.
# Operations: sign, verify, encrypt, decrypt, mac, verify-mac, generate-data-key, random.
#
# Try a change before it counts:   lastmile policy check .lastmile/policy.yaml
# Ask why something is refused:    lastmile policy explain --workload ID --key NAME --operation sign
version: 1

# People who operate and audit. No identity may be in a role and match a rule below.
roles:
  - id: auditors
    members: [${AUDITOR}]
    allow: { methods: ["Audit.*"] }

rules:
  - id: payments-signs
    description: The payments API signs its tokens, and nobody else does.
    workloads: [${CLIENTS[0].spiffeId}]
    keys: [payments/jwt]
    operations: [sign, verify]
    algorithms: [ES256]

  - id: payments-encrypts
    description: Card data at rest, directly up to 64 KiB and by envelope encryption above.
    workloads: [${CLIENTS[0].spiffeId}]
    keys: [payments/data]
    operations: [encrypt, decrypt, generate-data-key]

  - id: payments-authenticates-webhooks
    workloads: [${CLIENTS[0].spiffeId}]
    keys: [payments/webhook]
    operations: [mac, verify-mac]

  - id: billing-signs
    description: Every workload of the billing namespace, with every key below billing/.
    workloads: ["spiffe://example.org/ns/billing/sa/*"]
    keys: ["billing/*"]
    operations: [sign, verify]

  - id: services-draw-random-bytes
    workloads: ["spiffe://example.org/ns/*/sa/*"]
    operations: [random]
`;
