// Everything that users of troupe type.

#pragma once

#include "troupe/as_completed.hpp"
#include "troupe/config.hpp"
#include "troupe/context.hpp"
#include "troupe/delay.hpp"
#include "troupe/error.hpp"
#include "troupe/event.hpp"
#include "troupe/first.hpp"
#include "troupe/gather.hpp"
#include "troupe/messages.hpp"
#include "troupe/operation.hpp"
#include "troupe/outcome.hpp"
#include "troupe/pool.hpp"
#include "troupe/run.hpp"
#include "troupe/shield.hpp"
#include "troupe/stream.hpp"
#include "troupe/task.hpp"
