import { createHash, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { type BrowserContext, chromium, devices, type Page } from 'playwright-core';

/** Where Debian, Ubuntu and Fedora have it. */
const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/lib64/chromium-browser/chromium-browser',
] as const;

export function chromiumPath(): string | undefined {
  return PLACES.find((path) => existsSync(path));
}

export interface Visitor {
  readonly page: Page;
  readonly context: BrowserContext;
  /** What the page said on its console, errors and violations of its policy included. */
  readonly complaints: string[];
  /** False: the authenticator does not recognise its user. */
  recognise(isVerified: boolean): Promise<void>;
  close(): Promise<void>;
}

export type Screen = 'phone' | 'desktop';

/**
 * Headless Chromium with a virtual authenticator (passkeys with user verification), as a phone or as a desktop. The
 * certificate alone is trusted, by its key: what the browser says of other certificates stays as it is.
 */
export async function openBrowser(certificatePem: string) {
  const executablePath = chromiumPath();
  if (executablePath === undefined) throw new Error('no Chromium: run deploy/bootstrap.sh --all');
  const spki = new X509Certificate(certificatePem).publicKey.export({ type: 'spki', format: 'der' });
  const pin = createHash('sha256').update(spki).digest('base64');
  const browser = await chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', `--ignore-certificate-errors-spki-list=${pin}`],
  });
  return {
    visit: async (screen: Screen = 'desktop'): Promise<Visitor> => {
      const { defaultBrowserType: _type, ...phone } = devices['Pixel 7'] ?? {};
      const context = await browser.newContext(
        screen === 'phone' ? phone : { viewport: { width: 1280, height: 900 } },
      );
      const page = await context.newPage();
      const complaints: string[] = [];
      page.on('console', (message) => {
        // The browser notes every answer that is a refusal; whether it should be one is for the test to say.
        if (/the server responded with a status of 40[13]/.test(message.text())) return;
        if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
      });
      page.on('pageerror', (error) => complaints.push(error.message));
      const devtools = await context.newCDPSession(page);
      await devtools.send('WebAuthn.enable', { enableUI: false });
      const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', {
        options: {
          protocol: 'ctap2',
          transport: 'internal',
          hasResidentKey: true,
          hasUserVerification: true,
          isUserVerified: true,
          automaticPresenceSimulation: true,
        },
      });
      return {
        page,
        context,
        complaints,
        recognise: async (isUserVerified) => {
          await devtools.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified });
        },
        close: () => context.close(),
      };
    },
    close: () => browser.close(),
  };
}

/** What the page of enrolment wrote, read as an administrator reads it. */
export async function enrol(page: Page, origin: string, approver: string) {
  await page.goto(`${origin}/enrol`);
  await page.getByLabel('Your id as an approver').fill(approver);
  await page.getByRole('button', { name: 'Make a passkey' }).click();
  const block = page.locator('#block');
  await block.filter({ hasText: 'publicKey' }).waitFor();
  const text = (await block.textContent()) ?? '';
  const field = (name: string): string => new RegExp(`${name}: "([A-Za-z0-9_-]+)"`).exec(text)?.[1] ?? '';
  return { block: text, credentialId: field('credentialId'), publicKey: field('publicKey') };
}
