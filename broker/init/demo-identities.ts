/**
 * Who and what a development instance has from its first minute: the names that the demonstration, the README
 * and the comments of the written files speak of.
 */
export const TRUST_DOMAIN = 'example.org';
export const BROKER_ID = 'spiffe://example.org/lastmile/broker';
/** Stock gRPC clients check a DNS name: this one is in the broker's certificate and in no other. */
export const BROKER_DNS_NAME = 'lastmile.internal';

/** Everybody who gets a client profile. The names are those of `--as NAME`. */
export const CLIENTS = [
  { name: 'payments', spiffeId: 'spiffe://example.org/ns/payments/sa/api' },
  { name: 'billing', spiffeId: 'spiffe://example.org/ns/billing/sa/invoices' },
  { name: 'operator', spiffeId: 'spiffe://example.org/human/operator' },
  { name: 'auditor', spiffeId: 'spiffe://example.org/human/auditor' },
] as const;

export const ADMINISTRATOR = 'spiffe://example.org/human/operator';
export const AUDITOR = 'spiffe://example.org/human/auditor';

export interface DemoKey {
  readonly key: string;
  readonly purpose: 'sign' | 'encrypt' | 'mac';
  readonly algorithms: readonly string[];
}

/** The keys that policy.yaml speaks of, to be created on all tokens of the instance. */
export const DEMO_KEYS: readonly DemoKey[] = [
  { key: 'payments/jwt', purpose: 'sign', algorithms: ['ES256'] },
  { key: 'payments/data', purpose: 'encrypt', algorithms: ['A256GCM'] },
  { key: 'payments/webhook', purpose: 'mac', algorithms: ['HS256'] },
  { key: 'billing/invoices', purpose: 'sign', algorithms: ['ES256'] },
];
