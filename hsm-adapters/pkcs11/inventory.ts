import { type Mechanism, MechanismFlag, Module, type Slot, TokenFlag } from 'graphene-pk11';
import type { Inventory, InventoryMechanism, InventoryToken } from '../frames/doctor-frames.ts';
import { CKF } from './constants.ts';

/**
 * What a module says about itself, its slots and its tokens, without a login. Nothing of it is proof.
 *
 * graphene reads the structures that `cryptoki.ts` has no use for; it is slow at it, and only here.
 */
export function readInventory(path: string, libraryParameters: string | undefined): Inventory {
  const module = Module.load(path);
  // pkcs11js cuts the last character of libraryParameters off, hence the space.
  module.initialize({
    flags: CKF.OS_LOCKING_OK,
    ...(libraryParameters === undefined ? {} : { libraryParameters: `${libraryParameters} ` }),
  });
  try {
    const tokens: InventoryToken[] = [];
    const silentSlots: string[] = [];
    const slots = module.getSlots(true);
    for (let at = 0; at < slots.length; at += 1) {
      try {
        tokens.push(readToken(slots.items(at)));
      } catch (error) {
        silentSlots.push(error instanceof Error ? (error.message.split('\n', 1)[0] ?? '') : 'not an error');
      }
    }
    return {
      manufacturer: unpadded(module.manufacturerID),
      library: unpadded(module.libraryDescription),
      libraryVersion: version(module.libraryVersion),
      cryptokiVersion: version(module.cryptokiVersion),
      tokens,
      silentSlots,
    };
  } finally {
    module.finalize();
  }
}

const UNAVAILABLE = 0xffff_ffff;

function readToken(slot: Slot): InventoryToken {
  const token = slot.getToken();
  const has = (flag: TokenFlag) => (token.flags & flag) !== 0;
  const limit = token.maxSessionCount;
  const mechanisms: InventoryMechanism[] = [];
  const listed = slot.getMechanisms();
  for (let at = 0; at < listed.length; at += 1) mechanisms.push(readMechanism(listed.items(at)));
  return {
    label: unpadded(token.label),
    serial: unpadded(token.serialNumber),
    manufacturer: unpadded(token.manufacturerID),
    model: unpadded(token.model),
    firmware: version(token.firmwareVersion),
    initialised: has(TokenFlag.TOKEN_INITIALIZED),
    pinInitialised: has(TokenFlag.USER_PIN_INITIALIZED),
    pinCountLow: has(TokenFlag.USER_PIN_COUNT_LOW),
    pinFinalTry: has(TokenFlag.USER_PIN_FINAL_TRY),
    pinLocked: has(TokenFlag.USER_PIN_LOCKED),
    pinBytes: { least: token.minPinLen, most: token.maxPinLen },
    maxSessions: limit === 0 || limit >= UNAVAILABLE ? undefined : limit,
    mechanisms,
  };
}

const USES = [
  ['encrypt', MechanismFlag.ENCRYPT],
  ['decrypt', MechanismFlag.DECRYPT],
  ['digest', MechanismFlag.DIGEST],
  ['sign', MechanismFlag.SIGN],
  ['verify', MechanismFlag.VERIFY],
  ['generate', MechanismFlag.GENERATE],
  ['generate-pair', MechanismFlag.GENERATE_KEY_PAIR],
  ['wrap', MechanismFlag.WRAP],
  ['unwrap', MechanismFlag.UNWRAP],
  ['derive', MechanismFlag.DERIVE],
] as const;

function readMechanism(mechanism: Mechanism): InventoryMechanism {
  return {
    name:
      mechanism.name === 'unknown'
        ? `0x${mechanism.type.toString(16).padStart(4, '0')}`
        : `CKM_${mechanism.name}`,
    minKeySize: mechanism.minKeySize,
    maxKeySize: mechanism.maxKeySize,
    uses: USES.filter(([, flag]) => (mechanism.flags & flag) !== 0).map(([name]) => name),
  };
}

function unpadded(text: string): string {
  return text.replace(/[ \0]+$/, '');
}

function version({ major, minor }: { readonly major: number; readonly minor: number }): string {
  return `${major}.${minor}`;
}
