import { z } from 'zod';
import { duration, id } from './schema-parts.ts';

const KEY_USAGE = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
] as const;

const attribute = z.string().min(1).max(128).optional().describe('Of the subject (RFC 4519).');
const names = (what: string) => z.array(z.string().min(1).max(2048)).min(1).max(64).optional().describe(what);

/** What a certificate may be; everything that it does not allow is refused. */
export const certificateProfile = z.strictObject({
  id: id.describe('What requests and rules call it.'),
  issuer: z
    .string()
    .min(1)
    .max(65_536)
    .describe('`self`, or certificates of the issuer, PEM: the one with the public key that signs is taken.'),
  subject: z
    .strictObject({
      C: attribute,
      ST: attribute,
      L: attribute,
      O: attribute,
      OU: attribute,
      CN: attribute,
      serialNumber: attribute,
    })
    .default({})
    .describe('Attributes of the subject. Without `*` a value is fixed; `*` stands for any characters.'),
  names: z
    .strictObject({
      dns: names('`*` is one label, `**` one or more.'),
      uri: names('`spiffe://…` as in rules; others exact, or a prefix that ends in `/*`.'),
      email: names('An address, or `*@` and a domain.'),
      ip: names('An address, or a block in CIDR notation.'),
    })
    .default({})
    .describe('Subject alternative names that may be asked for; a kind that is not here is refused.'),
  wildcards: z.boolean().optional().describe('Whether a DNS name may itself be a wildcard. Default: no.'),
  validity: z
    .strictObject({
      max: duration.describe('The longest that may be asked for.'),
      default: duration.optional().describe('For requests that do not say. Default: `max`.'),
      backdate: duration
        .optional()
        .describe('How far `notBefore` lies back. At most `1h`; default: not at all.'),
    })
    .describe('For how long.'),
  keyUsage: z.array(z.enum(KEY_USAGE)).max(KEY_USAGE.length).describe('RFC 5280, section 4.2.1.3.'),
  extKeyUsage: z
    .array(
      z
        .string()
        .regex(
          /^(?:serverAuth|clientAuth|codeSigning|emailProtection|timeStamping|OCSPSigning|[0-2](?:\.(?:0|[1-9]\d{0,9})){1,30})$/,
          'is neither a known name such as serverAuth nor an object identifier',
        ),
    )
    .min(1)
    .max(16)
    .optional()
    .describe('`serverAuth`, `clientAuth`, … or object identifiers.'),
  ca: z
    .strictObject({
      pathLength: z.number().int().min(0).max(16).optional().describe('Default: no limit of its own.'),
    })
    .optional()
    .describe('Makes CA certificates.'),
  possession: z
    .enum(['csr', 'none'])
    .optional()
    .describe(
      '`csr` (the default): the applicant proves to have the private key. `none`: a bare key is taken too.',
    ),
});
