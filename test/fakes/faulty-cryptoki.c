/*
 * A PKCS#11 library that hands every call to another one, and does to some of them what a test says: fail them with
 * any CKR code before or after they ran, take its time over them, change a byte of what they return, crash in them,
 * or have no more sessions than so many. It counts calls, open sessions, and C_Finalize with a call in flight.
 *
 * Steered through a file that both sides map or read: `struct control` below, in the machine's byte order. Compiled by
 * faulty-cryptoki.ts. Environment: FAULTY_TARGET (the real library), FAULTY_CONTROL (the file).
 *
 * The functions of PKCS#11 2.40 take up to eight arguments, each a CK_ULONG, a CK_BYTE or a pointer, and come in the
 * order of the standard's CK_FUNCTION_LIST: one wrapper for each number of that order serves them all.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long word;
typedef word (*function)(word, word, word, word, word, word, word, word);

enum { FUNCTIONS = 68 };
enum { INITIALIZE = 0, FINALIZE = 1, GET_FUNCTION_LIST = 3, OPEN_SESSION = 12, CLOSE_SESSION = 13, CLOSE_ALL = 14, ENCRYPT = 30,
       DECRYPT = 34, SIGN = 43, WRAP_KEY = 60 };
enum { CRASH = 0xffffffff };
enum { CKR_GENERAL_ERROR = 5, CKR_SESSION_COUNT = 0xb1 };

struct rule {
  uint32_t code;      /* what to fail with, CRASH, or 0 */
  uint32_t times;     /* how often still */
  uint32_t after;     /* 1: once the real call is done */
  uint32_t delay_ms;  /* before every call */
  uint32_t corrupt;   /* results still to be changed */
  uint32_t calls;     /* counted */
  uint32_t fired;     /* failures and changed bytes, counted */
  uint32_t in_flight; /* of this function */
  uint32_t busy_us;   /* time spent in it, not waiting for a place; all threads together; goes round */
};

struct control {
  struct rule rules[FUNCTIONS];
  uint32_t session_limit; /* 0: none */
  uint32_t sessions;      /* open in the process that initialised last */
  uint32_t finalized_in_flight;
  uint32_t in_flight;
  uint32_t capacity;      /* delayed calls that run at once, the others wait in the module; 0: all */
};

struct list {
  unsigned char version[2];
  function functions[FUNCTIONS];
};

static struct control *control;
static struct list *target;
static struct list own;
/* Places in the device, as many as `capacity` says: taken and given back by the threads of one process. */
static pthread_mutex_t places = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t place_free = PTHREAD_COND_INITIALIZER;
static uint32_t places_taken;

static int take(uint32_t *left) {
  uint32_t now = __atomic_load_n(left, __ATOMIC_SEQ_CST);
  while (now > 0)
    if (__atomic_compare_exchange_n(left, &now, now - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return 1;
  return 0;
}

static uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void add(uint32_t *counter, int32_t n) { __atomic_add_fetch(counter, n, __ATOMIC_SEQ_CST); }

static void take_place(void) {
  pthread_mutex_lock(&places);
  while (control->capacity > 0 && places_taken >= control->capacity) pthread_cond_wait(&place_free, &places);
  places_taken++;
  pthread_mutex_unlock(&places);
}

static void give_place(void) {
  pthread_mutex_lock(&places);
  places_taken--;
  pthread_cond_signal(&place_free);
  pthread_mutex_unlock(&places);
}

static void corrupt(int n, struct rule *rule, word d, word e, word f) {
  unsigned char *bytes = (unsigned char *)(n == WRAP_KEY ? e : d);
  word *length = (word *)(n == WRAP_KEY ? f : e);
  if (n != SIGN && n != ENCRYPT && n != DECRYPT && n != WRAP_KEY) return;
  if (bytes == NULL || length == NULL || *length == 0 || !take(&rule->corrupt)) return;
  bytes[*length / 2] ^= 1;
  add(&rule->fired, 1);
}

static word run(int n, word a, word b, word c, word d, word e, word f, word g, word h) {
  struct rule *rule = &control->rules[n];
  uint32_t delay_ms = __atomic_load_n(&rule->delay_ms, __ATOMIC_SEQ_CST);
  uint32_t code = 0, limit;
  uint64_t began;
  word result;
  add(&rule->calls, 1);
  if (n == INITIALIZE) control->sessions = control->in_flight = 0;
  if (n == FINALIZE && __atomic_load_n(&control->in_flight, __ATOMIC_SEQ_CST) > 0) add(&control->finalized_in_flight, 1);
  add(&control->in_flight, 1);
  add(&rule->in_flight, 1);
  if (delay_ms > 0) take_place();
  began = now_us();
  if (delay_ms > 0) {
    struct timespec wait = {delay_ms / 1000, (long)(delay_ms % 1000) * 1000000};
    while (nanosleep(&wait, &wait) != 0) {}
  }
  if (rule->code != 0 && take(&rule->times)) {
    code = rule->code;
    add(&rule->fired, 1);
  }
  if (code == CRASH) kill(getpid(), SIGKILL);
  limit = control->session_limit;
  if (n == OPEN_SESSION && limit > 0 && control->sessions >= limit) result = CKR_SESSION_COUNT;
  else if (code != 0 && !rule->after) result = code;
  else {
    result = target->functions[n](a, b, c, d, e, f, g, h);
    if (result == 0) {
      corrupt(n, rule, d, e, f);
      if (n == OPEN_SESSION) add(&control->sessions, 1);
      if (n == CLOSE_SESSION) add(&control->sessions, -1);
      if (n == CLOSE_ALL) control->sessions = 0;
    }
    if (code != 0) result = code;
  }
  if (delay_ms > 0) give_place();
  add(&rule->busy_us, (int32_t)(now_us() - began));
  add(&rule->in_flight, -1);
  add(&control->in_flight, -1);
  return result;
}

#define W(n) \
  static word w##n(word a, word b, word c, word d, word e, word f, word g, word h) { return run(n, a, b, c, d, e, f, g, h); }
#define TEN(M, t) M(t##0) M(t##1) M(t##2) M(t##3) M(t##4) M(t##5) M(t##6) M(t##7) M(t##8) M(t##9)
#define ALL(M) \
  M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) \
  TEN(M, 1) TEN(M, 2) TEN(M, 3) TEN(M, 4) TEN(M, 5) M(60) M(61) M(62) M(63) M(64) M(65) M(66) M(67)
ALL(W)
#define NAME(n) w##n,
static const function wrappers[FUNCTIONS] = {ALL(NAME)};

word C_GetFunctionList(void **out) {
  if (target == NULL) {
    const char *path = getenv("FAULTY_TARGET"), *file = getenv("FAULTY_CONTROL");
    void *library = path == NULL ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    word (*get)(struct list **) = library == NULL ? NULL : (word(*)(struct list **))dlsym(library, "C_GetFunctionList");
    int fd = file == NULL ? -1 : open(file, O_RDWR);
    if (get == NULL || fd < 0) return CKR_GENERAL_ERROR;
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (control == MAP_FAILED || get(&target) != 0) return CKR_GENERAL_ERROR;
    memcpy(own.version, target->version, sizeof own.version);
    memcpy(own.functions, wrappers, sizeof wrappers);
    own.functions[GET_FUNCTION_LIST] = (function)C_GetFunctionList;
  }
  *out = &own;
  return 0;
}
