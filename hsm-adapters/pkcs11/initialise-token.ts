import { CKF, CKU } from './constants.ts';
import { Cryptoki, CryptokiError, type SlotHandle } from './cryptoki.ts';

/**
 * Makes a new token in a software module's free slot, with its user PIN. For development instances and tests: a
 * real HSM's tokens are made at a ceremony, with the vendor's tools.
 *
 * A slot that already has a token is never touched. The label must not be taken: it is how tokens are found.
 */
export function initialiseToken(request: {
  readonly module: string;
  readonly label: string;
  readonly soPin: string;
  readonly pin: string;
}): { readonly serial: string; readonly label: string } {
  const { label, soPin, pin } = request;
  const cryptoki = Cryptoki.load(request.module);
  cryptoki.initialize();
  try {
    const slots = cryptoki.slots(true).map((slot) => ({ slot, info: cryptoki.tokenInfo(slot) }));
    const isInitialised = (flags: number) => (flags & CKF.TOKEN_INITIALIZED) !== 0;
    if (slots.some(({ info }) => isInitialised(info.flags) && info.label === label)) {
      throw new CryptokiError(`there is a token with label "${label}" already`);
    }
    const free = slots.find(({ info }) => !isInitialised(info.flags));
    if (free === undefined) throw new CryptokiError('no slot without a token');
    cryptoki.initToken(free.slot, soPin, label);
    const made = setUserPin(cryptoki, label, soPin, pin);
    return { serial: cryptoki.tokenInfo(made).serial, label };
  } finally {
    cryptoki.finalize();
  }
}

function setUserPin(cryptoki: Cryptoki, label: string, soPin: string, pin: string): SlotHandle {
  // The slot may have a new number now.
  const slot = cryptoki.slots(true).find((each) => {
    const { flags, label: found } = cryptoki.tokenInfo(each);
    return (flags & CKF.TOKEN_INITIALIZED) !== 0 && found === label;
  });
  if (slot === undefined) throw new CryptokiError(`the new token "${label}" is not to be found`);
  const session = cryptoki.openSession(slot, 'read-write');
  try {
    cryptoki.login(session, CKU.SO, soPin);
    cryptoki.initPin(session, pin);
    cryptoki.logout(session);
  } finally {
    cryptoki.closeSession(session);
  }
  return slot;
}
